"""Many runs: studies and searches."""
