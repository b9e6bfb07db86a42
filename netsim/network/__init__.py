"""Cells, what stands in each, and the wires behind them."""
