"""Merges."""
