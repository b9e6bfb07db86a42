"""The shared band on the exact clock."""
