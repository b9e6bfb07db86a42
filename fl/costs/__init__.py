"""What one model with LoRA costs in FLOP, bits and bytes, counted once."""

from fl.costs.curves import Curve, Lengths
from fl.costs.facts import Facts, count_facts, known_facts
from fl.costs.shapes import SHAPES
from fl.costs.timing import TimingAs, count_timing, known_timing

__all__ = [
    "SHAPES",
    "Curve",
    "Facts",
    "Lengths",
    "TimingAs",
    "count_facts",
    "count_timing",
    "known_facts",
    "known_timing",
]
