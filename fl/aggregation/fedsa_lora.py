"""FedSA-LoRA: share A, keep B (Guo et al., arXiv 2410.01463)."""

from __future__ import annotations

from typing import ClassVar, Literal

from fl.aggregation.layerwise import LayerwiseMethod
from fl.aggregation.method import ONE_RANK, Contract, Exchange

UNKNOWN_START = (
    "a client may start again before its last update is merged, and the B that it "
    "starts from is not known before"
)


class FedSALora(LayerwiseMethod):
    """Average A only; B and what is trained outside LoRA stay with each client.

    Client u has its own model ``W0 + s B_u Abar``. The averaged B is not sent: it is
    the start of clients that have no B yet, and serves global evaluations. Traffic:
    r n numbers each way.
    """

    kind: Literal["fedsa-lora"] = "fedsa-lora"
    contract: ClassVar = Contract(
        exactness="personal",
        personal=("B", "rest"),
        cannot={"asynchrony": UNKNOWN_START, "unequal-ranks": ONE_RANK},
    )
    exchanged: ClassVar = Exchange(trains=("B", "A"), sends=("A",), receives=("A",))
