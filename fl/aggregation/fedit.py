"""FedIT: average B and average A (Zhang et al., arXiv 2305.05644)."""

from __future__ import annotations

from typing import ClassVar, Literal

from fl.aggregation.layerwise import LayerwiseMethod
from fl.aggregation.method import ONE_RANK, Contract


class FedIT(LayerwiseMethod):
    """Average the factors; the error is the covariance of the clients' B and A, of
    second order in their drift.

    Traffic: r (m + n) numbers each way.
    """

    kind: Literal["fedit"] = "fedit"
    contract: ClassVar = Contract(
        exactness="approximate", cannot={"unequal-ranks": ONE_RANK}
    )
