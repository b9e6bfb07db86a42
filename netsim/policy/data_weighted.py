"""Each client by its own coin, the more often the more data it has."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from netsim.policy.baselines import scaled_probabilities
from netsim.policy.sampler import Drawn, FloatArray, Once, toss
from netsim.scenario import Record
from netsim.scenario.traits import Traits


class DataWeightedSampling(Record):
    """Independent draws with ``q_n`` in proportion to the data weight, ``num_expected``
    of them on average; everyone below ``q_n = 1`` then has the same weight."""

    traits: ClassVar[Traits] = {"sums-vary": ""}
    kind: Literal["data-weighted"] = "data-weighted"
    num_expected: float = Field(gt=0)

    def probabilities(self, data_weights: FloatArray) -> FloatArray:
        return self._once.of(data_weights, self._probabilities)

    def draw(self, data_weights: FloatArray, rng: np.random.Generator) -> Drawn:
        return toss(self.probabilities(data_weights), data_weights, rng)

    @cached_property
    def _once(self) -> Once:
        return Once()

    def _probabilities(self, data_weights: FloatArray) -> FloatArray:
        return scaled_probabilities(data_weights, self.num_expected)
