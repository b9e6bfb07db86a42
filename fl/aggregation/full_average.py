"""The full average: clients continue from ``W0 + s W*`` itself; an oracle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from fl.aggregation.components import LayerComponents, MergedLayer
from fl.aggregation.flora_stacking import folded_whole
from fl.aggregation.method import (
    FOLDS,
    NEEDS_FACTORS,
    NO_STEP,
    Contract,
    Exchange,
)
from fl.aggregation.reference_norms import merge_each
from fl.record import Record

CONTRACT = Contract(
    exactness="exact",
    continues_from="restart",
    is_folding=True,
    is_fold_dense=True,
    cannot={
        "asynchrony": FOLDS,
        "secure-aggregation": NEEDS_FACTORS,
        "server-optimiser": NO_STEP,
    },
)
EXCHANGE = Exchange(trains=("B", "A"), sends=("B", "A"), receives=())


class FullAverage(Record):
    """Fold all of ``W*`` into the base and restart the adapters; what an aggregation
    could reach at best, at a cost that nobody would pay.

    Traffic: r_u (m + n) numbers up, the dense m n down.
    """

    kind: Literal["full-average"] = "full-average"

    @property
    def contract(self) -> Contract:
        return CONTRACT

    def exchange(self, round_index: int) -> Exchange:
        return EXCHANGE

    def merge(self, layers: Mapping[str, LayerComponents]) -> dict[str, MergedLayer]:
        return merge_each(layers, folded_whole)
