"""Tests, what they share (`support`), and programs: `torture` and `benchmarks`."""
