"""The clock, the event engine, random streams, quantities, files and locks."""
