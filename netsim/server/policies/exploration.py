"""Lower ranks tried in early rounds, so that norms tell what a sketch costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from netsim.core.streams import stream
from netsim.policy.planner import Planner

NUM_EXPLORED: Final = 8  # rounds
PART_BELOW: Final = 0.5  # of the clients, drawn in each round

Ranks = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Exploration:
    """Each client's highest rank, and the one that it tries: at most half as high,
    where one is open to it."""

    top: Ranks
    tried: Ranks

    @classmethod
    def of(cls, planner: Planner) -> Exploration:
        """Return the ranks of a fleet."""
        ranks, top = np.asarray(planner.problem.ranks), planner.top_ranks()
        is_half = planner.problem.is_allowed & (ranks <= top[:, None] / 2)
        highest = np.where(is_half, ranks, 0).max(axis=1)
        return cls(top, np.where(highest > 0, highest, top).astype(np.int64))

    def is_due(self, number: int) -> bool:
        """Return whether a round of that number tries lower ranks."""
        return number <= NUM_EXPLORED and bool((self.tried < self.top).any())

    def ranks(self, seed: int, round_id: int) -> tuple[int, ...]:
        """Return the rank of every client in a round."""
        rng = stream(seed, "explored-ranks", round_id)
        is_below = rng.random(len(self.top)) < PART_BELOW
        return tuple(np.where(is_below, self.tried, self.top).tolist())
