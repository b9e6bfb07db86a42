"""Test beds that expose netsim to wrong input, faults and damaged files."""
