"""Draws by loss, in the manner of Oort (Lai et al., arXiv 2010.06081)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from netsim.policy.context import Seen
from netsim.policy.sampler import Drawn
from netsim.scenario import Record
from netsim.scenario.traits import Traits

EXPLORED = 0.1  # of those drawn, among the rest


class ByLoss(Record):
    """The clients of the highest data weight times last loss, and a few others; the
    weights are those of their data, and add up to one.

    A client that no merge has taken has the highest utility. Oort's pacer and its
    penalty for slow clients are left out.
    """

    kind: ClassVar[str] = "oort:ByLoss"
    traits: ClassVar[Traits] = {"sums-to-one": ""}
    num_drawn: int

    def probabilities(self, data_weights: np.ndarray) -> np.ndarray:
        return np.full(len(data_weights), self.num_drawn / len(data_weights))

    def draw(
        self,
        data_weights: np.ndarray,
        rng: np.random.Generator,
        seen: Mapping[int, Seen],
    ) -> Drawn:
        losses = np.full(len(data_weights), np.inf)
        for client_id, one in seen.items():
            if one.loss is not None:
                losses[client_id] = one.loss
        noise = rng.random(len(losses))  # breaks ties between the unseen
        order = np.lexsort((noise, -data_weights * losses))
        num_best = self.num_drawn - round(EXPLORED * self.num_drawn)
        others = rng.permutation(order[num_best:])[: self.num_drawn - num_best]
        drawn = np.sort(np.concatenate([order[:num_best], others]))
        shares = data_weights[drawn] / data_weights[drawn].sum()
        return Drawn(tuple(drawn.tolist()), tuple(shares.tolist()))
