"""Cells, wires, links and losses."""
