"""What does not go together in a scenario."""
