"""A cache of the frozen base model, shared by the runs of a process."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from fl.backbones import Backbone
from fl.tasks import Source

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True)
class _BaseKey:
    """The cache key of a base model, and what is needed to load it."""

    digest: str
    device: str
    precision: Literal["float32", "float64"]
    backbone: Backbone = field(compare=False)
    task: Source = field(compare=False)


def shared_base(
    backbone: Backbone,
    task: Source,
    *,
    device: str,
    precision: Literal["float32", "float64"],
) -> PreTrainedModel:
    """Return a base model with new layers; its weights are shared with the cached model
    and must not be written."""
    key = _BaseKey(backbone.digest(task), device, precision, backbone, task)
    kept = _loaded(key)
    return copy.deepcopy(kept, {id(weight): weight for weight in kept.parameters()})


@lru_cache(maxsize=1)
def _loaded(key: _BaseKey) -> PreTrainedModel:
    return key.backbone.load(key.task)
