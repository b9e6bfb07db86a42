"""Devices: time and energy."""
