"""FLOP, bits and memory of a model."""
