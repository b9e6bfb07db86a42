"""Gains, losses and measured traces."""
