"""The contract with learning, and what is independent of how learning works."""
