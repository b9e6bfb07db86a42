"""FFA-LoRA: freeze A, average B (Sun et al., arXiv 2403.12313)."""

from __future__ import annotations

from typing import ClassVar, Literal

from fl.aggregation.components import LayerComponents, MergedLayer
from fl.aggregation.layerwise import LayerwiseMethod
from fl.aggregation.method import ONE_RANK, ONLY_B, Contract
from fl.aggregation.reference_norms import ReferenceNorms
from fl.aggregation.shared_factor import mean_of_b


class FFALora(LayerwiseMethod):
    """Train and average B over one frozen A that all clients have; exact, because the
    product is linear in B.

    Traffic: r m numbers each way; the frozen A is known from the start.
    """

    kind: Literal["ffa-lora"] = "ffa-lora"
    contract: ClassVar = Contract(exactness="exact", cannot={"unequal-ranks": ONE_RANK})
    exchanged: ClassVar = ONLY_B

    def merge_layer(self, layer: LayerComponents, norms: ReferenceNorms) -> MergedLayer:
        pair = mean_of_b(layer, self.kind)
        return MergedLayer(pair, norms.diagnostics(norms.gap))
