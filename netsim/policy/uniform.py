"""K clients, uniformly, without replacement."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from netsim.errors import InputError
from netsim.policy.sampler import Drawn, FloatArray, weigh
from netsim.scenario import Record
from netsim.scenario.traits import Traits


class UniformSampling(Record):
    """``num_drawn`` different clients per round, each set equally likely."""

    traits: ClassVar[Traits] = {"sums-vary": ""}
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
        probabilities = self.probabilities(data_weights)
        # the lowest of one vector of draws: a larger K keeps the clients of a smaller
        drawn = lowest(rng.random(len(data_weights)), self.num_drawn)
        return weigh(drawn, data_weights, probabilities)


def lowest(lots: FloatArray, num_drawn: int) -> npt.NDArray[np.int64]:
    """Return the places of the ``num_drawn`` lowest lots, ascending; of equal lots the
    first ones."""
    highest = np.partition(lots, num_drawn - 1)[num_drawn - 1]
    drawn = np.flatnonzero(lots <= highest)
    if len(drawn) > num_drawn:  # equal lots: as a stable sort would have it
        order = np.argsort(lots[drawn], kind="stable")
        drawn = np.sort(drawn[order[:num_drawn]])
    return drawn
