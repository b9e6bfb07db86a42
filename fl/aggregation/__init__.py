"""Aggregation methods: how a server merges its clients' LoRA factors, one per file."""

from __future__ import annotations

from fl.aggregation.components import (
    LayerComponents,
    MergeDiagnostics,
    MergedLayer,
    Pair,
    weighted_mean,
)
from fl.aggregation.compression import COMPRESSIONS, Compression
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
    Exchange,
    Method,
    VersionRanks,
    ranks,
)
from fl.aggregation.residual import Residual
from fl.aggregation.rolora import RoLora
from fl.aggregation.server_optimiser import (
    SERVER_OPTIMISERS,
    PlainServer,
    ServerOptimiser,
)
from fl.aggregation.thin_svd import ThinSVD
from fl.model.payload import Shape

AGGREGATIONS: dict[str, type[Method]] = {
    "fed-sb": FedSB,
    "fedex-lora": FedExLora,
    "fedit": FedIT,
    "fedsa-lora": FedSALora,
    "fedsvd": FedSVD,
    "ffa-lora": FFALora,
    "flexlora": FlexLora,
    "flora-na": FloraNA,
    "flora-na-adam": FloraNAAdam,
    "flora-stacking": FloraStacking,
    "florist": Florist,
    "free-als": FreeALS,
    "fslora": FSLora,
    "full-average": FullAverage,
    "hetlora": HetLora,
    "lora-fair": LoraFair,
    "residual": Residual,
    "rolora": RoLora,
    "thin-svd": ThinSVD,
}

__all__ = [
    "AGGREGATIONS",
    "COMPRESSIONS",
    "SERVER_OPTIMISERS",
    "Ability",
    "Compression",
    "Contract",
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
    "MergeDiagnostics",
    "MergedLayer",
    "Method",
    "Pair",
    "PlainServer",
    "Residual",
    "RoLora",
    "ServerOptimiser",
    "Shape",
    "ThinSVD",
    "VersionRanks",
    "ranks",
    "weighted_mean",
]
