"""What parts of a scenario go together: one table, and the rules that need numbers."""
