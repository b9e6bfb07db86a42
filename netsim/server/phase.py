"""A stretch of rounds of one phase."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """The rounds after ``after_round_id``: a pilot's, so many, or those that train."""

    phase: Literal["pilot", "train"] = "train"
    after_round_id: int = 0
    num_rounds: int | None = None

    @property
    def is_pilot(self) -> bool:
        """Return whether these rounds only serve to measure."""
        return self.phase == "pilot"

    def is_due(self, round_id: int, last_id: int, every: int | None) -> bool:
        """Return whether a round's version is scored: every so many of this leg, or
        the first one after as many, ``last_id`` being the one before it, and the last
        one; without a number all of a pilot's and no other."""
        number = round_id - self.after_round_id
        if every is None:
            return self.is_pilot
        last = last_id - self.after_round_id
        return number // every > last // every or number == self.num_rounds
