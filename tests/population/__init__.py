"""Who the clients are, where, and when."""
