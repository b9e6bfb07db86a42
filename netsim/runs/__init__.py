"""Finished runs: their folder, their manifest and questions about them."""
