"""What one model with LoRA costs in FLOP, bits and bytes, counted once."""

from fl.facts.curves import Curve, Lengths
from fl.facts.facts import Facts, count_facts, known_facts

__all__ = ["Curve", "Facts", "Lengths", "count_facts", "known_facts"]
