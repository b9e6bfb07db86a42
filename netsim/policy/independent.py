"""Each client by its own coin (arXiv 2505.23555)."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from netsim.errors import InputError
from netsim.policy.sampler import Drawn, FloatArray, weigh
from netsim.scenario import Record

Probability = Annotated[float, Field(gt=0, le=1)]


class IndependentSampling(Record):
    """Client ``n`` takes part with probability ``q_n``, whoever else does; a round may
    be empty. One number serves all clients, a list gives each its own."""

    kind: Literal["independent"] = "independent"
    probability: Probability | tuple[Probability, ...]

    def probabilities(self, data_weights: FloatArray) -> FloatArray:
        given = np.atleast_1d(np.asarray(self.probability, dtype=float))
        if len(given) not in (1, len(data_weights)):
            raise InputError(
                f"server.sampling.probability lists {len(given)} values for "
                f"{len(data_weights)} clients; give one for all or one for each"
            )
        return np.broadcast_to(given, data_weights.shape)

    def draw(self, data_weights: FloatArray, rng: np.random.Generator) -> Drawn:
        probabilities = self.probabilities(data_weights)
        drawn = np.flatnonzero(rng.random(len(data_weights)) < probabilities)
        return weigh(drawn, data_weights, probabilities)
