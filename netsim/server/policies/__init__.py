"""Policies, which choose sampling probabilities and ranks during a run."""
