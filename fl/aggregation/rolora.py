"""RoLoRA: train and average one factor per round, alternating (Chen et al., arXiv
2502.01755)."""

from __future__ import annotations

from typing import ClassVar, Literal

from fl.aggregation.components import LayerComponents, MergedLayer, Pair, weighted_mean
from fl.aggregation.layerwise import LayerwiseMethod
from fl.aggregation.method import ONE_RANK, ONLY_A, ONLY_B, Contract, Exchange
from fl.aggregation.reference_norms import ReferenceNorms
from fl.aggregation.shared_factor import mean_of_b, require_shared, shares


class RoLora(LayerwiseMethod):
    """Train and average B in even rounds and A in odd ones; exact, because the other
    factor is common to all clients of the round.

    Traffic: r m numbers each way in even rounds, r n in odd ones.
    """

    kind: Literal["rolora"] = "rolora"
    contract: ClassVar = Contract(
        exactness="exact",
        cannot={
            "unequal-ranks": ONE_RANK,
            "asynchrony": "updates of B and updates of A made in different rounds do "
            "not share a factor",
            "server-optimiser": "its memory would move the factor that rests in a "
            "round, which is not sent",
        },
    )

    def exchange(self, round_index: int) -> Exchange:
        return ONLY_A if round_index % 2 else ONLY_B

    def merge_layer(self, layer: LayerComponents, norms: ReferenceNorms) -> MergedLayer:
        if shares(layer, "A"):
            pair = mean_of_b(layer, self.kind)
        else:
            require_shared(layer, "B", self.kind)
            mean_a = weighted_mean([p.lora_a for p in layer.pairs], layer.weights)
            pair = Pair(layer.pairs[0].lora_b, mean_a)
        return MergedLayer(pair, norms.diagnostics(norms.gap))
