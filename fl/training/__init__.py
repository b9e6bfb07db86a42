"""Local training of many clients at once over one frozen base."""
