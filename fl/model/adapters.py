"""An adapter as one flat tensor, with a layout of named tensors."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import Field, model_validator

from fl.record import Record

if TYPE_CHECKING:
    from torch import Tensor


ALL_LINEAR = ("all-linear",)  # PEFT: every linear layer except the head


class LoraSettings(Record):
    """The trained parts: LoRA factors and whole modules, with PEFT's names.

    ``peft_type: hira`` multiplies the base's weights by ``1 + B A`` and has no scale.
    """

    peft_type: Literal["lora", "hira"] = "lora"
    r: int = Field(default=8, ge=1)
    lora_alpha: float = Field(default=16.0, gt=0, allow_inf_nan=False)
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    use_rslora: bool = False  # scale alpha / sqrt(r) in place of alpha / r
    use_dora: bool = False
    target_modules: tuple[str, ...] = Field(
        default=("q_proj", "v_proj"), min_length=1, strict=False
    )
    modules_to_save: tuple[str, ...] = Field(default=("classifier",), strict=False)

    @property
    def scale(self) -> float:
        """Return the factor of ``B A``."""
        if self.peft_type == "hira":
            return 1.0
        return self.lora_alpha / (self.r**0.5 if self.use_rslora else self.r)

    @model_validator(mode="after")
    def _check_hira(self) -> LoraSettings:
        scaled = self.use_rslora or self.use_dora or self.lora_alpha != 16.0
        if self.peft_type == "hira" and scaled:
            raise ValueError("HiRA has no lora_alpha, use_rslora or use_dora")
        return self


class Pair(NamedTuple):
    """The factors of one low-rank matrix ``B @ A``, before the LoRA scale."""

    lora_b: Tensor  # [m, r]
    lora_a: Tensor  # [r, n]


@dataclass(frozen=True, slots=True)
class Part:
    """One tensor of an adapter, under the name that PEFT gives it in a checkpoint."""

    name: str
    shape: tuple[int, ...]
    module: str  # the base model's name
    factor: Literal["A", "B"] | None  # None: trained outside LoRA, such as the head

    @property
    def num_numbers(self) -> int:
        """Return how many numbers the tensor has."""
        return math.prod(self.shape)

    @property
    def rank_dim(self) -> int | None:
        """Return the dimension of the rank: A is [r, n], B is [m, r]."""
        return {"A": 0, "B": 1, None: None}[self.factor]

    def at_rank(self, rank: int) -> Part:
        """Return the same tensor for an adapter of another rank."""
        shape = list(self.shape)
        if self.rank_dim is not None:
            shape[self.rank_dim] = rank
        return replace(self, shape=tuple(shape))


@dataclass(frozen=True)
class Layout:
    """The tensors of an adapter, in the order of its flat tensor."""

    parts: tuple[Part, ...]

    @cached_property
    def num_numbers(self) -> int:
        """Return the length of the flat tensor."""
        return sum(part.num_numbers for part in self.parts)

    @cached_property
    def rank(self) -> int:
        """Return the rank, the same for every adapted matrix."""
        return next(part.shape[0] for part in self.parts if part.factor == "A")

    @cached_property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """Return (rows, columns) of each adapted matrix, in order."""
        rows = {part.module: part.shape[0] for part in self.parts if part.factor == "B"}
        columns = {p.module: p.shape[1] for p in self.parts if p.factor == "A"}
        return {module: (rows[module], columns[module]) for module in columns}

    def at_rank(self, rank: int) -> Layout:
        """Return the layout of the same matrices at another rank."""
        return Layout(tuple(part.at_rank(rank) for part in self.parts))

    def at_ranks(self, ranks: Mapping[str, int]) -> Layout:
        """Return the layout with each adapted matrix at its own rank."""
        return Layout(
            tuple(
                part if part.factor is None else part.at_rank(ranks[part.module])
                for part in self.parts
            )
        )

    @cached_property
    def modules(self) -> tuple[str, ...]:
        """Return the adapted matrices, in order."""
        return tuple(part.module for part in self.parts if part.factor == "A")

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """Return the tensors by name, as views into a flat tensor."""
        import torch

        chunks = torch.split(flat, [part.num_numbers for part in self.parts])
        pairs = zip(self.parts, chunks, strict=True)
        return {part.name: chunk.view(part.shape) for part, chunk in pairs}

    def pack(self, tensors: Mapping[str, Tensor]) -> Adapter:
        """Return an adapter with copies of these named tensors."""
        import torch

        return Adapter(
            self, torch.cat([tensors[part.name].flatten() for part in self.parts])
        )


@dataclass(frozen=True, eq=False)
class Adapter:
    """An immutable value on the CPU; two adapters are equal if their digests are.

    ``flat`` is float32 (float64 in tests that train in float64).
    """

    layout: Layout
    flat: Tensor

    @cached_property
    def digest(self) -> str:
        """Return the SHA-256 of names, shapes, dtype and numbers."""
        head = repr((self.layout.parts, str(self.flat.dtype))).encode()
        return hashlib.sha256(head + self.flat.numpy().tobytes()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Adapter) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors by their PEFT names, as views."""
        return self.layout.views(self.flat)

    def pairs(self) -> dict[str, Pair]:
        """Return the factors of each adapted matrix, as views."""
        tensors = self.tensors()
        factors = {
            (part.module, part.factor): tensors[part.name] for part in self.layout.parts
        }
        return {
            module: Pair(factors[module, "B"], factors[module, "A"])
            for module in self.layout.modules
        }

    def with_pairs(
        self, pairs: Mapping[str, Pair], rest: Mapping[str, Tensor]
    ) -> Adapter:
        """Return an adapter with these factors, of any rank, and this rest."""
        tensors = dict(rest)
        for part in self.layout.parts:
            if part.factor is not None:
                lora_b, lora_a = pairs[part.module]
                tensors[part.name] = lora_b if part.factor == "B" else lora_a
        ranks = {module: len(lora_a) for module, (_, lora_a) in pairs.items()}
        return self.layout.at_ranks(ranks).pack(tensors)

    def rest(self) -> dict[str, Tensor]:
        """Return the tensors trained outside LoRA, by PEFT name, as views."""
        tensors = self.tensors()
        parts = self.layout.parts
        return {p.name: tensors[p.name] for p in parts if p.factor is None}
