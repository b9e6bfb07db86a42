"""Backbones: the frozen base models under the clients' adapters."""

from fl.backbones.backbone import Backbone, Precision, read
from fl.backbones.from_config import FromConfig
from fl.backbones.from_pretrained import FromPretrained
from fl.backbones.pretraining import Pretraining
from fl.backbones.small_vit import SmallViT

BACKBONES = {
    "small-vit": SmallViT,
    "config": FromConfig,
    "pretrained": FromPretrained,
}

__all__ = [
    "BACKBONES",
    "Backbone",
    "FromConfig",
    "FromPretrained",
    "Precision",
    "Pretraining",
    "SmallViT",
    "read",
]
