"""What a server merges, ``(B_i, A_i, w_i)`` per adapted matrix, and what it gets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from torch import Tensor

WEIGHT_SUM_TOLERANCE = 1e-9


class Pair(NamedTuple):
    """The factors of one low-rank matrix ``B @ A``, before the LoRA scale."""

    lora_b: Tensor  # [m, r]
    lora_a: Tensor  # [r, n]


@dataclass(frozen=True, slots=True, eq=False)
class LayerComponents:
    """All that is merged into one adapted matrix, in the order of the arithmetic.

    Weights sum to one and may be negative, as the previous global adapter's is under
    ``1/q`` weights. Ranks may differ; dtypes may not. ``previous`` is the global pair
    before the merge, a component or not: gauges align to it, diagnostics measure from
    it, and the result is never of lower rank.
    """

    pairs: tuple[Pair, ...]
    weights: tuple[float, ...]
    previous: Pair | None = None

    def __post_init__(self) -> None:
        if not self.pairs or len(self.pairs) != len(self.weights):
            raise ValueError(
                "components must be one weight per pair and at least one pair, got "
                f"{len(self.pairs)} pairs and {len(self.weights)} weights"
            )
        total = math.fsum(self.weights)
        tolerance = WEIGHT_SUM_TOLERANCE * max(1.0, *map(abs, self.weights))
        if not abs(total - 1) <= tolerance:  # also rejects nan
            raise ValueError(f"component weights must sum to 1, got {total!r}")
        kinds = {(b.shape[0], a.shape[1], b.dtype, a.dtype) for b, a in self._all()}
        if len(kinds) > 1:
            raise ValueError(f"components must share shape and dtype, got {kinds}")
        for b, a in self._all():
            if b.shape[1] != a.shape[0]:
                raise ValueError(
                    "the ranks of B and A must agree, got "
                    f"{tuple(b.shape)} and {tuple(a.shape)}"
                )

    @property
    def rank(self) -> int:
        """The largest rank, to which smaller components are padded with zeros."""
        return max(pair.lora_b.shape[1] for pair in self._all())

    def padded(self) -> tuple[Pair, ...]:
        """Return the pairs at one common rank; those that have it are not copied."""
        return tuple(pad_rank(pair, self.rank) for pair in self.pairs)

    def padded_previous(self) -> Pair:
        """Return the previous pair at the common rank; there must be one."""
        assert self.previous is not None
        return pad_rank(self.previous, self.rank)

    def double(self) -> LayerComponents:
        """Return the same components in float64, on the CPU."""
        previous = None if self.previous is None else double(self.previous)
        return LayerComponents(tuple(map(double, self.pairs)), self.weights, previous)

    def _all(self) -> tuple[Pair, ...]:
        return self.pairs if self.previous is None else (*self.pairs, self.previous)


@dataclass(frozen=True, kw_only=True, slots=True)
class MergeDiagnostics:
    """How far a merge is from ``W* = sum w_i B_i A_i``, in relative Frobenius norm.

    All errors are those of the float64 result, before it is rounded to the dtype of
    the components; a fold counts as part of the result.
    """

    num_components: int
    relative_error: float
    average_relative_error: float  # plain factor averaging of the same components
    update_relative_error: float | None = None  # per ||W* - previous||, where given
    left_spread: float | None = None  # ||P - w|| / ||w|| of mixing scalars, else none
    right_spread: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class MergedLayer:
    """The pair to send, in the components' dtype, and what to add to the base.

    After the merge a layer is ``(W0 + s fold) + s pair``, ``s`` the LoRA scale. The
    fold is a product too; where it is longer than dense it travels dense.
    """

    pair: Pair
    diagnostics: MergeDiagnostics
    fold: Pair | None = None  # times the LoRA scale, like the pair


class Merge(Protocol):
    """Merges every adapted matrix of one round; an aggregation method."""

    def merge(self, layers: Mapping[str, LayerComponents]) -> dict[str, MergedLayer]:
        """Return one merged layer per name, in the order given; inputs untouched.

        A single component comes back bit for bit, unless the method restarts or
        re-factors what it sends. Callers skip a round in which nobody arrived, and
        sort components by (client, start index).
        """
        ...


def pad_rank(pair: Pair, rank: int) -> Pair:
    """Return the same product at a higher rank, by columns and rows of zeros."""
    from torch.nn.functional import pad

    missing = rank - pair.lora_b.shape[1]
    if not missing:
        return pair
    return Pair(pad(pair.lora_b, (0, missing)), pad(pair.lora_a, (0, 0, 0, missing)))


def double(pair: Pair) -> Pair:
    """Return the pair in float64, on the CPU."""
    import torch

    return Pair(*(factor.detach().to("cpu", torch.float64) for factor in pair))


def like(pair: Pair, layer: LayerComponents) -> Pair:
    """Return the pair on the device and in the dtype of the components."""
    model = layer.pairs[0]
    return Pair(pair.lora_b.to(model.lora_b), pair.lora_a.to(model.lora_a))


def weighted_mean(tensors: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Return ``sum w_i t_i``, added up in float64 in the order given, then cast back.

    For trainables outside LoRA too; weights are used as they are.
    """
    import torch

    total = torch.zeros(tensors[0].shape, dtype=torch.float64)
    for tensor, weight in zip(tensors, weights, strict=True):
        total.add_(tensor.detach().to("cpu", torch.float64), alpha=weight)
    return total.to(tensors[0])


def mix(
    components: LayerComponents, left: Sequence[float], right: Sequence[float]
) -> Pair:
    """Return ``(sum P_i B_i, sum Q_i A_i)`` for scalars ``P = left``, ``Q = right``."""
    lora_b, lora_a = zip(*components.padded(), strict=True)
    return Pair(weighted_mean(lora_b, left), weighted_mean(lora_a, right))
