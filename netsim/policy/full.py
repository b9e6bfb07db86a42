"""All clients, every round."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from netsim.policy.sampler import Drawn, FloatArray, weigh
from netsim.scenario import Record
from netsim.scenario.traits import Traits


class FullParticipation(Record):
    """All clients take part in every round, with their data weights."""

    traits: ClassVar[Traits] = {"sums-to-one": ""}
    kind: Literal["full"] = "full"

    def probabilities(self, data_weights: FloatArray) -> FloatArray:
        return np.ones(len(data_weights))

    def draw(self, data_weights: FloatArray, rng: np.random.Generator) -> Drawn:
        everyone = np.arange(len(data_weights))
        return weigh(everyone, data_weights, self.probabilities(data_weights))
