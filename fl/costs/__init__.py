"""What one model with LoRA costs in FLOP, bits and bytes, counted once."""

from fl.costs.curves import Curve, Lengths
from fl.costs.lookup import count_costs, count_timing, known_costs, known_timing
from fl.costs.model_costs import ModelCosts
from fl.costs.shapes import SHAPES
from fl.costs.timing import TimingAs

__all__ = [
    "SHAPES",
    "Curve",
    "Lengths",
    "ModelCosts",
    "TimingAs",
    "count_costs",
    "count_timing",
    "known_costs",
    "known_timing",
]
