"""FSLoRA: average the scattered changes of sketched clients (Fang et al., arXiv
2501.19389)."""

from __future__ import annotations

from typing import ClassVar, Literal

from fl.aggregation.layerwise import LayerwiseMethod
from fl.aggregation.method import Contract


class FSLora(LayerwiseMethod):
    """Add the weighted mean of the clients' changes, each scattered to its rank units.

    A component is the client's whole pair. Only its sketched columns of B and rows of A
    differ from the version sent, so the average of the pairs is that sum. Traffic:
    k_u (m + n) numbers up, r (m + n) down.
    """

    kind: Literal["fslora"] = "fslora"
    contract: ClassVar = Contract(
        exactness="approximate",
        cannot={"unequal-ranks": "its clients train sketches of one pair of full rank"},
    )
