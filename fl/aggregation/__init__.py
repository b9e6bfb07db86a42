"""How a server merges its clients' LoRA factors: one strategy per file, by kind."""

from __future__ import annotations

from fl.aggregation.components import (
    LayerComponents,
    Merge,
    MergeDiagnostics,
    MergedLayer,
    Pair,
    weighted_mean,
)
from fl.aggregation.fedit import FedIT
from fl.aggregation.flora_na import FloraNA

AGGREGATIONS: dict[str, type[FedIT] | type[FloraNA]] = {
    "fedit": FedIT,
    "flora-na": FloraNA,
}

__all__ = [
    "AGGREGATIONS",
    "FedIT",
    "FloraNA",
    "LayerComponents",
    "Merge",
    "MergeDiagnostics",
    "MergedLayer",
    "Pair",
    "weighted_mean",
]
