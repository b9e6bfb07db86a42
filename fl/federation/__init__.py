"""Rounds of learning: jobs, cohorts, merges and versions."""
