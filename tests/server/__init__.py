"""Servers on timelines."""
