"""The exact clock, the event engine, random streams, quantities and safe files."""
