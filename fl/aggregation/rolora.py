"""RoLoRA: train and average one factor at a time, in turn (Chen et al., arXiv
2502.01755)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from fl.aggregation.components import LayerComponents, MergedLayer, Pair, weighted_mean
from fl.aggregation.method import ONE_RANK, ONLY_A, ONLY_B, Contract, Exchange
from fl.aggregation.reference_norms import Yardstick, merge_each
from fl.aggregation.shared_factor import require_shared, shares
from fl.record import Record

CONTRACT = Contract(
    exactness="exact",
    cannot={
        "unequal-ranks": ONE_RANK,
        "asynchrony": "updates of B and updates of A made in different rounds do not "
        "share a factor",
        "server-optimiser": "its memory would move the factor that rests in a round, "
        "which is not sent",
    },
)


class RoLora(Record):
    """Even rounds train and average B, odd rounds A; exact, because the other factor
    is common to the round.

    Traffic: r m numbers each way in even rounds, r n in odd ones.
    """

    kind: Literal["rolora"] = "rolora"

    @property
    def contract(self) -> Contract:
        return CONTRACT

    def exchange(self, round_index: int) -> Exchange:
        return ONLY_A if round_index % 2 else ONLY_B

    def merge(self, layers: Mapping[str, LayerComponents]) -> dict[str, MergedLayer]:
        return merge_each(layers, self._merge_one)

    def _merge_one(self, layer: LayerComponents, size: Yardstick) -> MergedLayer:
        lora_b, lora_a = layer.pairs[0]
        if shares(layer, "A"):
            lora_b = weighted_mean([p.lora_b for p in layer.pairs], layer.weights)
        else:
            require_shared(layer, "B", self.kind)
            lora_a = weighted_mean([p.lora_a for p in layer.pairs], layer.weights)
        return MergedLayer(Pair(lora_b, lora_a), size.diagnostics(size.gap))
