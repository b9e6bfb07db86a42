"""Who takes part: samplers, the solver, pilots and plans."""
