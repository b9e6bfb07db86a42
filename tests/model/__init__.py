"""The model: base, adapters, and what is sent of it."""
