"""FFA-LoRA: freeze A, average B (Sun et al., arXiv 2403.12313)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from fl.aggregation.components import LayerComponents, MergedLayer, Pair, weighted_mean
from fl.aggregation.method import ONE_RANK, ONLY_B, Contract, Exchange
from fl.aggregation.reference_norms import Yardstick, merge_each
from fl.aggregation.shared_factor import require_shared
from fl.record import Record

CONTRACT = Contract(exactness="exact", cannot={"unequal-ranks": ONE_RANK})


class FFALora(Record):
    """Train and average B over one frozen A that all clients have; exact, because the
    product is linear in B.

    Traffic: r m numbers each way; the frozen A is known from the start.
    """

    kind: Literal["ffa-lora"] = "ffa-lora"

    @property
    def contract(self) -> Contract:
        return CONTRACT

    def exchange(self, round_index: int) -> Exchange:
        return ONLY_B

    def merge(self, layers: Mapping[str, LayerComponents]) -> dict[str, MergedLayer]:
        return merge_each(layers, self._merge_one)

    def _merge_one(self, layer: LayerComponents, size: Yardstick) -> MergedLayer:
        require_shared(layer, "A", self.kind)
        mean_b = weighted_mean([pair.lora_b for pair in layer.pairs], layer.weights)
        pair = Pair(mean_b, layer.pairs[0].lora_a)
        return MergedLayer(pair, size.diagnostics(size.gap))
