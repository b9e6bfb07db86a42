"""Random valid scenarios, judged by invariants of the tables alone."""
