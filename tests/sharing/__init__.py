"""How a band is divided."""
