"""K draws with replacement (Li et al., arXiv 1907.02189; Luo et al., 2112.11256)."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from netsim.errors import InputError
from netsim.policy.sampler import Drawn, FloatArray, Once
from netsim.scenario import Record
from netsim.scenario.traits import Traits


class WeightedSampling(Record):
    """``num_draws`` draws with replacement, client ``n`` with probability ``p_n``: its
    data weight, or its part of ``shares``.

    A client drawn ``m`` times takes part once, with weight ``a_n m / (K p_n)``.
    """

    traits: ClassVar[Traits] = {"sums-vary": ""}
    kind: Literal["weighted"] = "weighted"
    num_draws: int = Field(ge=1)
    shares: Literal["data"] | tuple[Annotated[float, Field(gt=0)], ...] = "data"

    def probabilities(self, data_weights: FloatArray) -> FloatArray:
        missed = np.log1p(-np.minimum(self._shares(data_weights), 1 - 2.0**-53))
        probabilities: FloatArray = -np.expm1(self.num_draws * missed)
        return probabilities

    def draw(self, data_weights: FloatArray, rng: np.random.Generator) -> Drawn:
        shares = self._shares(data_weights)
        ends = self._ends.of(data_weights, lambda _: np.cumsum(shares))
        lots = rng.random(self.num_draws) * ends[-1]
        places = np.searchsorted(ends, lots, side="right")
        drawn, counts = np.unique(places, return_counts=True)
        weights = data_weights[drawn] * counts / (self.num_draws * shares[drawn])
        return Drawn(tuple(drawn.tolist()), tuple(weights.tolist()))

    @cached_property
    def _once(self) -> Once:
        return Once()

    @cached_property
    def _ends(self) -> Once:
        return Once()

    def _shares(self, data_weights: FloatArray) -> FloatArray:
        return self._once.of(data_weights, self._found_shares)

    def _found_shares(self, data_weights: FloatArray) -> FloatArray:
        if self.shares == "data":
            return data_weights
        if len(self.shares) != len(data_weights):
            raise InputError(
                f"server.sampling.shares lists {len(self.shares)} values for "
                f"{len(data_weights)} clients; give one for each, or 'data'"
            )
        return np.array(self.shares) / math.fsum(self.shares)
