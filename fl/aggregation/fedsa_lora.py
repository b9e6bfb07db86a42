"""FedSA-LoRA: share A, keep B (Guo et al., arXiv 2410.01463)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from fl.aggregation.components import LayerComponents, MergedLayer
from fl.aggregation.method import ONE_RANK, Contract, Exchange
from fl.aggregation.reference_norms import averaged, merge_each
from fl.record import Record

MOVED_ON = (
    "a client may start again before its last update is merged, and the B that it "
    "starts from is not known before"
)
CONTRACT = Contract(
    exactness="personal",
    personal=("B", "rest"),
    cannot={"asynchrony": MOVED_ON, "unequal-ranks": ONE_RANK},
)
EXCHANGE = Exchange(trains=("B", "A"), sends=("A",), receives=("A",))


class FedSALora(Record):
    """Average A only; B and what is trained outside LoRA stay with each client.

    There is no one global model: client u has ``W0 + s B_u Abar``. The B returned is
    the average, for a client that has none yet and for scoring a stand-in; it is not
    sent. Traffic: r n numbers each way.
    """

    kind: Literal["fedsa-lora"] = "fedsa-lora"

    @property
    def contract(self) -> Contract:
        return CONTRACT

    def exchange(self, round_index: int) -> Exchange:
        return EXCHANGE

    def merge(self, layers: Mapping[str, LayerComponents]) -> dict[str, MergedLayer]:
        return merge_each(layers, averaged)
