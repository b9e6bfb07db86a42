"""FlexLoRA: the best part of the average at every client's rank (Bai et al., arXiv
2402.11505)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from fl.aggregation.components import LayerComponents, MergedLayer
from fl.aggregation.method import (
    LORA,
    NEEDS_FACTORS,
    NEW_GAUGE,
    Contract,
    Exchange,
)
from fl.aggregation.thin_svd import ThinSVD
from fl.record import Record

CONTRACT = Contract(
    exactness="best-rank",
    small_clients="truncated",
    continues_from="prefix",
    is_truncated_on_send=True,
    cannot={"secure-aggregation": NEEDS_FACTORS, "server-optimiser": NEW_GAUGE},
)


class FlexLora(Record):
    """Send client u the best rank-r_u part of ``W*``: the first r_u directions of the
    balanced SVD, whose prefixes nest; the paper's dense SVD is done thinly here.

    A client of a small rank loses the tail of the model, trained or not. Traffic:
    r_u (m + n) numbers each way.
    """

    kind: Literal["flexlora"] = "flexlora"
    randomised_above: int = Field(default=512, ge=1)  # columns of the stack

    @property
    def contract(self) -> Contract:
        return CONTRACT

    def exchange(self, round_index: int) -> Exchange:
        return LORA

    def merge(self, layers: Mapping[str, LayerComponents]) -> dict[str, MergedLayer]:
        return ThinSVD(randomised_above=self.randomised_above).merge(layers)
