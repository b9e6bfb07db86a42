"""FSLoRA: average the scattered changes of sketched clients (Fang et al., arXiv
2501.19389)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from fl.aggregation.components import LayerComponents, MergedLayer
from fl.aggregation.method import LORA, Contract, Exchange
from fl.aggregation.reference_norms import averaged, merge_each
from fl.record import Record

CONTRACT = Contract(
    exactness="approximate",
    cannot={"unequal-ranks": "its clients train sketches of one pair of full rank"},
)


class FSLora(Record):
    """Add the weighted mean of the clients' changes, each scattered to its rank units.

    A component is the client's whole pair, in which only the sketched columns of B and
    rows of A differ from what it was sent; averaging those together with the version
    sent is the same sum. Traffic: k_u (m + n) numbers up, r (m + n) down.
    """

    kind: Literal["fslora"] = "fslora"

    @property
    def contract(self) -> Contract:
        return CONTRACT

    def exchange(self, round_index: int) -> Exchange:
        return LORA

    def merge(self, layers: Mapping[str, LayerComponents]) -> dict[str, MergedLayer]:
        return merge_each(layers, averaged)
