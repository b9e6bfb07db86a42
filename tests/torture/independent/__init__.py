"""References for clock, merges, samplers and plans that share no code with netsim."""
