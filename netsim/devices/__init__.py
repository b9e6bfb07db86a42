"""Devices and what they take: seconds, joules, batteries."""
