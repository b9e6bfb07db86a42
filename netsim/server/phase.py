"""A stretch of rounds: those of one pilot, or those that train."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """The rounds after ``after_round_id``; a pilot has a number of rounds."""

    kind: Literal["pilot", "train"] = "train"
    after_round_id: int = 0
    num_rounds: int | None = None

    @property
    def is_pilot(self) -> bool:
        """Return whether these rounds only serve to measure."""
        return self.kind == "pilot"

    def is_due(self, round_id: int, last_id: int, every: int | None) -> bool:
        """Return whether a round's version is evaluated: every ``every`` rounds of this
        phase, or the first one after as many, and the last one; without ``every`` all
        rounds of a pilot and no others. ``last_id`` is the round before it."""
        number = round_id - self.after_round_id
        if every is None:
            return self.is_pilot
        last = last_id - self.after_round_id
        return number // every > last // every or number == self.num_rounds
