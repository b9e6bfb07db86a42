"""The frozen base model, kept in memory from one run of a process to the next."""

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
class _Wanted:
    """A base model in the form in which it computes."""

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
    """Return a model to put adapters on, whose weights are those in memory already if
    the last one here was the same: layers are new, weights are not to be written."""
    wanted = _Wanted(backbone.digest(task), device, precision, backbone, task)
    kept = _loaded(wanted)
    return copy.deepcopy(kept, {id(weight): weight for weight in kept.parameters()})


@lru_cache(maxsize=1)
def _loaded(wanted: _Wanted) -> PreTrainedModel:
    return wanted.backbone.load(wanted.task)
