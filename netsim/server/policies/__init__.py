"""Who chooses sampling probabilities and ranks during a run."""
