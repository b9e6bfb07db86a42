"""Scenarios as files."""
