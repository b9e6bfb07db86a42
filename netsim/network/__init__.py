"""Cells, the interference between them, and their backhauls."""
