"""FlexLoRA: the best part of the average at every client's rank (Bai et al., arXiv
2402.11505)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from fl.aggregation.components import LayerComponents, MergedLayer
from fl.aggregation.layerwise import LayerwiseMethod
from fl.aggregation.method import NEEDS_FACTORS, NEW_GAUGE, Contract
from fl.aggregation.reference_norms import ReferenceNorms
from fl.aggregation.thin_svd import ThinSVD


class FlexLora(LayerwiseMethod):
    """Send client u the best rank-r_u approximation of ``W*``: the first r_u
    directions of its balanced SVD.

    The SVD is thin; the paper's is dense, with the same result. A client of smaller
    rank loses the directions beyond its rank, trained or not. Traffic: r_u (m + n)
    numbers each way.
    """

    kind: Literal["flexlora"] = "flexlora"
    randomised_above: int = Field(default=512, ge=1)  # columns of the stack
    contract: ClassVar = Contract(
        exactness="best-rank",
        small_clients="truncated",
        continues_from="prefix",
        is_truncated_on_send=True,
        cannot={"secure-aggregation": NEEDS_FACTORS, "server-optimiser": NEW_GAUGE},
    )

    def merge_layer(self, layer: LayerComponents, norms: ReferenceNorms) -> MergedLayer:
        svd = ThinSVD(randomised_above=self.randomised_above)
        return svd.merge_layer(layer, norms)
