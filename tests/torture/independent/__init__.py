"""References written from the pages alone, before their authors read the code."""
