"""K clients, uniformly, without replacement."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from netsim.errors import InputError
from netsim.policy.sampler import Drawn, FloatArray, weigh
from netsim.scenario import Record


class UniformSampling(Record):
    """``num_drawn`` different clients per round, each set equally likely."""

    kind: Literal["uniform"] = "uniform"
    num_drawn: int = Field(ge=1)

    def probabilities(self, data_weights: FloatArray) -> FloatArray:
        num_clients = len(data_weights)
        if self.num_drawn > num_clients:
            raise InputError(
                f"server.sampling.num_drawn must not exceed the {num_clients} clients, "
                f"got {self.num_drawn}"
            )
        return np.full(num_clients, self.num_drawn / num_clients)

    def draw(self, data_weights: FloatArray, rng: np.random.Generator) -> Drawn:
        num_drawn = self.num_drawn
        # the lowest of one vector of draws: a larger K keeps the clients of a smaller
        lots = rng.random(len(data_weights))
        drawn = np.sort(np.argsort(lots, kind="stable")[:num_drawn])
        return weigh(drawn, data_weights, self.probabilities(data_weights))
