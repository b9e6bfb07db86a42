"""Finished learning, remembered between runs."""
