"""Training of clients, alone and in cohorts."""
