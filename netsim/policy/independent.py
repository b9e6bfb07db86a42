"""Each client by its own coin (arXiv 2505.23555)."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from netsim.errors import InputError
from netsim.policy.baselines import weight_floors
from netsim.policy.sampler import Drawn, FloatArray, Once, toss
from netsim.scenario import Record
from netsim.scenario.traits import Traits

Probability = Annotated[float, Field(gt=0, le=1)]


class IndependentSampling(Record):
    """Client ``n`` takes part with probability ``q_n``, independently of the others; a
    round may be empty. One number serves all clients, a list gives each its own;
    ``max_weight`` raises a ``q_n`` under which ``a_n / q_n`` would exceed it."""

    traits: ClassVar[Traits] = {"sums-vary": ""}
    kind: Literal["independent"] = "independent"
    probability: Probability | tuple[Probability, ...]
    max_weight: float | None = Field(default=None, gt=0)

    def probabilities(self, data_weights: FloatArray) -> FloatArray:
        return self._once.of(data_weights, self._probabilities)

    def draw(self, data_weights: FloatArray, rng: np.random.Generator) -> Drawn:
        return toss(self.probabilities(data_weights), data_weights, rng)

    @cached_property
    def _once(self) -> Once:
        return Once()

    def _probabilities(self, data_weights: FloatArray) -> FloatArray:
        given = np.atleast_1d(np.asarray(self.probability, dtype=float))
        if len(given) not in (1, len(data_weights)):
            raise InputError(
                f"server.sampling.probability lists {len(given)} values for "
                f"{len(data_weights)} clients; give one for all or one for each"
            )
        floors = weight_floors(data_weights, self.max_weight)
        probabilities: FloatArray = np.maximum(given, floors)
        return probabilities
