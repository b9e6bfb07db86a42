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
from fl.aggregation.fed_sb import FedSB
from fl.aggregation.fedex_lora import FedExLora
from fl.aggregation.fedit import FedIT
from fl.aggregation.fedsa_lora import FedSALora
from fl.aggregation.fedsvd import FedSVD
from fl.aggregation.ffa_lora import FFALora
from fl.aggregation.flexlora import FlexLora
from fl.aggregation.flora_na import FloraNA
from fl.aggregation.flora_na_adam import FloraNAAdam
from fl.aggregation.flora_stacking import FloraStacking
from fl.aggregation.florist import Florist
from fl.aggregation.free_als import FreeALS
from fl.aggregation.fslora import FSLora
from fl.aggregation.full_average import FullAverage
from fl.aggregation.hetlora import HetLora
from fl.aggregation.lora_fair import LoraFair
from fl.aggregation.method import (
    Ability,
    Contract,
    Download,
    Exchange,
    Method,
    Shape,
    VersionRanks,
    download_numbers,
    ranks,
    upload_numbers,
)
from fl.aggregation.residual import Residual
from fl.aggregation.rolora import RoLora
from fl.aggregation.thin_svd import ThinSVD

# What a scenario may name: same training and same traffic as plain LoRA, no fold.
AGGREGATIONS: dict[
    str,
    type[FedIT]
    | type[FloraNA]
    | type[FloraNAAdam]
    | type[FreeALS]
    | type[LoraFair]
    | type[ThinSVD],
] = {
    "fedit": FedIT,
    "flora-na": FloraNA,
    "flora-na-adam": FloraNAAdam,
    "free-als": FreeALS,
    "lora-fair": LoraFair,
    "thin-svd": ThinSVD,
}

# Complete as merges; they await a simulator that trains, sends or folds as they ask.
AWAITING_SIMULATION: dict[
    str,
    type[FFALora]
    | type[FSLora]
    | type[FedExLora]
    | type[FedSALora]
    | type[FedSB]
    | type[FedSVD]
    | type[FlexLora]
    | type[FloraStacking]
    | type[Florist]
    | type[FullAverage]
    | type[HetLora]
    | type[Residual]
    | type[RoLora],
] = {
    "fed-sb": FedSB,
    "fedex-lora": FedExLora,
    "fedsa-lora": FedSALora,
    "fedsvd": FedSVD,
    "ffa-lora": FFALora,
    "flexlora": FlexLora,
    "flora-stacking": FloraStacking,
    "florist": Florist,
    "fslora": FSLora,
    "full-average": FullAverage,
    "hetlora": HetLora,
    "residual": Residual,
    "rolora": RoLora,
}

__all__ = [
    "AGGREGATIONS",
    "AWAITING_SIMULATION",
    "Ability",
    "Contract",
    "Download",
    "Exchange",
    "FFALora",
    "FSLora",
    "FedExLora",
    "FedIT",
    "FedSALora",
    "FedSB",
    "FedSVD",
    "FlexLora",
    "FloraNA",
    "FloraNAAdam",
    "FloraStacking",
    "Florist",
    "FreeALS",
    "FullAverage",
    "HetLora",
    "LayerComponents",
    "LoraFair",
    "Merge",
    "MergeDiagnostics",
    "MergedLayer",
    "Method",
    "Pair",
    "Residual",
    "RoLora",
    "Shape",
    "ThinSVD",
    "VersionRanks",
    "download_numbers",
    "ranks",
    "upload_numbers",
    "weighted_mean",
]
