"""Where the trained layers of a model are, and where their numbers lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, eq=False, slots=True)
class AdaptedLinear:
    """A frozen matrix with LoRA on it: PEFT's layer, and where its factors lie."""

    layer: nn.Module
    base: nn.Module
    is_upright: bool  # the base's weight is [outputs, inputs]; Conv1D's is turned
    scale: float
    dropout: float
    part_a: int
    part_b: int


@dataclass(frozen=True, eq=False, slots=True)
class WholeModule:
    """A module trained outside LoRA: PEFT's wrapper, and where its parameters lie."""

    wrapper: nn.Module
    module: nn.Module
    parts: Mapping[str, int]
