"""Remembered learning."""
