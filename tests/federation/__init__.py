"""Rounds of learning without a network."""
