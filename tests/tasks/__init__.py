"""Data sets, their partition and the models for them."""
