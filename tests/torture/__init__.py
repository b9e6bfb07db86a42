"""Test beds that do to netsim what the world does: wrong input, faults, damage."""
