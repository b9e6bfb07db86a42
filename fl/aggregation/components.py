"""What a merge takes, ``(B_i, A_i, w_i)`` per adapted matrix, and what it returns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fl.model.adapters import Pair as Pair

if TYPE_CHECKING:
    from torch import Tensor

WEIGHT_SUM_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class LayerComponents:
    """The components of one adapted matrix, in the order of summation.

    Weights sum to one. They may be negative: under ``1/q`` weights that of the previous
    global adapter is. Ranks may differ; dtypes may not. ``previous`` is the global pair
    before the merge, whether it is a component or not: gauges align to it, diagnostics
    measure from it, and the result has at least its rank.
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
        """The largest rank; smaller components are padded to it with zeros."""
        return max(pair.lora_b.shape[1] for pair in self._all())

    def padded(self) -> tuple[Pair, ...]:
        """Return the pairs at the largest rank; pairs of that rank are not copied."""
        return tuple(pad_rank(pair, self.rank) for pair in self.pairs)

    def padded_previous(self) -> Pair:
        """Return the previous pair, which must exist, at the largest rank."""
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
    """Distance of a merge from ``W* = sum w_i B_i A_i``, in relative Frobenius norm.

    Errors are those of the float64 result, fold included, before it is rounded to the
    components' dtype.
    """

    num_components: int
    relative_error: float
    average_relative_error: float  # plain factor averaging of the same components
    update_relative_error: float | None = None  # relative to ||W* - previous||
    left_spread: float | None = None  # ||P - w|| / ||w|| of mixing scalars, if any
    right_spread: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class MergedLayer:
    """The pair to send, in the components' dtype, and the addition to the base.

    With LoRA scale ``s``, the layer is then ``(W0 + s fold) + s pair``. A fold is sent
    as factors, or as a dense matrix where that is shorter.
    """

    pair: Pair
    diagnostics: MergeDiagnostics
    fold: Pair | None = None

    @property
    def sent(self) -> list[Pair]:
        """Return the products that the layer changes by: the pair, and the fold."""
        return [self.pair] if self.fold is None else [self.pair, self.fold]


def pad_rank(pair: Pair, rank: int) -> Pair:
    """Return the pair padded with zeros to a higher rank; the product is the same."""
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
    """Return ``sum w_i t_i``, summed in float64 in the order given, then cast back."""
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
