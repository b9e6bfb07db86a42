"""Oort's choice by losses (Lai et al., "Oort: efficient federated learning via guided
participant selection", arXiv 2010.06081, algorithm 1)."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from netsim.policy.context import Context
from netsim.policy.sampler import Drawn, FloatArray
from netsim.policy.uniform import UniformSampling
from netsim.scenario import Record
from netsim.scenario.traits import Traits

CLIPPED_AT = 0.95  # the quantile of utilities above which none counts for more
CUT_OFF = 0.95  # of the lowest utility that would be chosen outright
BONUS = 0.1  # of clients that were not seen for long


class Oort(Record):
    """``num_drawn`` clients: some are new, the others are drawn by their last losses.

    A part of the clients is new, at first ``exploration``, each round times ``decay``,
    down to ``least_exploration``. The others are drawn in proportion to their utility:
    data times loss, clipped, over the largest, and more the longer ago it was seen; a
    negative loss counts as zero. A client of unknown loss is new. Those drawn weigh by
    their data; the sum is not unbiased. The paper's penalty of slow clients is left
    out: here the server's deadline or ``merge_first`` decides.
    """

    traits: ClassVar[Traits] = {"sums-to-one": "", "reads-losses": ""}
    kind: Literal["oort"] = "oort"
    num_drawn: int = Field(ge=1)
    exploration: float = Field(default=0.9, ge=0, le=1)
    decay: float = Field(default=0.98, gt=0, le=1)
    least_exploration: float = Field(default=0.2, ge=0, le=1)

    def probabilities(self, data_weights: FloatArray) -> FloatArray:
        """Return those of the first round, when no loss is known."""
        return UniformSampling(num_drawn=self.num_drawn).probabilities(data_weights)

    def draw(self, context: Context) -> Drawn:
        rng, data_weights = context.rng, context.data_weights
        self.probabilities(data_weights)  # refuses more than there are
        losses = np.full(len(data_weights), math.nan)
        ages = np.ones(len(data_weights))
        for client_id, seen in context.seen.items():
            if seen.loss is not None:
                losses[client_id], ages[client_id] = seen.loss, seen.round_id
        known = np.flatnonzero(np.isfinite(losses))
        new = np.flatnonzero(~np.isfinite(losses))
        num_new = self._num_new(context.round_id, len(known), len(new))
        chosen = rng.choice(new, num_new, replace=False)
        utilities = data_weights[known] * np.maximum(losses[known], 0)
        utilities = _with_bonus(utilities, ages[known], context.round_id)
        others = _by_utility(known, utilities, self.num_drawn - num_new, rng)
        drawn = np.sort(np.concatenate([chosen, others]))
        weights = data_weights[drawn] / data_weights[drawn].sum()
        return Drawn(tuple(drawn.tolist()), tuple(weights.tolist()))

    def _num_new(self, round_id: int, num_known: int, num_new: int) -> int:
        """Return how many of the drawn are new, as far as there are of either."""
        part = self.exploration * self.decay ** (round_id - 1)
        wanted = round(max(part, self.least_exploration) * self.num_drawn)
        return min(num_new, max(wanted, self.num_drawn - num_known))


def _with_bonus(utilities: FloatArray, ages: FloatArray, round_id: int) -> FloatArray:
    """Return utilities over the largest, clipped, and more for those not seen since the
    round in ``ages``."""
    if not len(utilities):
        return utilities
    clipped = np.minimum(utilities, np.quantile(utilities, CLIPPED_AT))
    bonus = np.sqrt(BONUS * math.log(max(round_id, 2)) / np.maximum(ages, 1))
    found: FloatArray = clipped / max(clipped.max(), 1e-300) + bonus
    return found


def _by_utility(
    known: np.ndarray[tuple[int], np.dtype[np.int64]],
    utilities: FloatArray,
    number: int,
    rng: np.random.Generator,
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return some known clients, drawn in proportion to their utility among those that
    are not far below the best."""
    if not number:
        return known[:0]
    least = CUT_OFF * np.partition(utilities, -number)[-number]
    near = utilities >= least
    chances = utilities[near] / utilities[near].sum()
    found: np.ndarray[tuple[int], np.dtype[np.int64]] = rng.choice(
        known[near], number, replace=False, p=chances
    )
    return found
