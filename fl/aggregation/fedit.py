"""FedIT: average B and average A (Zhang et al., arXiv 2305.05644)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from fl.aggregation.components import LayerComponents, MergedLayer
from fl.aggregation.method import LORA, ONE_RANK, Contract, Exchange
from fl.aggregation.reference_norms import averaged, merge_each
from fl.record import Record

CONTRACT = Contract(exactness="approximate", cannot={"unequal-ranks": ONE_RANK})


class FedIT(Record):
    """Average the factors; misses ``W*`` by the clients' covariance, exact to first
    order in their drift.

    Traffic: r (m + n) numbers each way.
    """

    kind: Literal["fedit"] = "fedit"

    @property
    def contract(self) -> Contract:
        return CONTRACT

    def exchange(self, round_index: int) -> Exchange:
        return LORA

    def merge(self, layers: Mapping[str, LayerComponents]) -> dict[str, MergedLayer]:
        return merge_each(layers, averaged)
