"""The full average: clients continue from ``W0 + s W*`` itself; an oracle."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from fl.aggregation.flora_stacking import FloraStacking, FoldingMethod


class FullAverage(FoldingMethod):
    """Fold all of ``W*`` into the base and restart the adapters: an upper bound on
    accuracy per round, at an unrealistic cost in traffic.

    Traffic: r_u (m + n) numbers up, the dense m n and the restarted A down.
    """

    kind: Literal["full-average"] = "full-average"
    contract: ClassVar = replace(
        FloraStacking.contract, is_fold_dense=True, small_clients="sketched"
    )
