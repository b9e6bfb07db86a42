"""Where the trained layers of a model are, and where their numbers lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, eq=False, slots=True)
class AdaptedLinear:
    """A frozen matrix with LoRA: PEFT's layer, and the indices of its factors."""

    layer: nn.Module
    base: nn.Module
    is_upright: bool  # the weight is [outputs, inputs]; Conv1D's is transposed
    scale: float
    dropout: float
    part_a: int
    part_b: int


@dataclass(frozen=True, eq=False, slots=True)
class WholeModule:
    """A module trained outside LoRA: PEFT's wrapper, and its parameters' indices."""

    wrapper: nn.Module
    module: nn.Module
    parts: Mapping[str, int]
