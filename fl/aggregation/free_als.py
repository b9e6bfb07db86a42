"""Free ALS: least squares on the factors themselves, one after the other (METHOD.md
11.2, ours)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fl.aggregation.components import LayerComponents, MergedLayer, Pair, double, like
from fl.aggregation.gauge import REFACTORING, Gauge, regauged
from fl.aggregation.method import LORA, Contract, Exchange
from fl.aggregation.reference_norms import (
    Centred,
    Yardstick,
    averaged,
    is_settled,
    merge_each,
)
from fl.aggregation.thin_svd import spectral_contract
from fl.record import Record

if TYPE_CHECKING:
    from torch import Tensor

SINGULAR = 1e-12  # of the largest eigenvalue: a rank that is dead, and stays as it is


class FreeALS(Record):
    """Fit B to ``W*`` at the averaged A, then A to ``W*`` at that B, and so on.

    Every half-step is a projection, so the error never grows; it nears the SVD's, and
    W* is only ever multiplied with thin matrices. Traffic: r_u (m + n) numbers each
    way.
    """

    kind: Literal["free-als"] = "free-als"
    num_sweeps: int = Field(default=2, ge=1)
    gauge: Gauge = "balanced"

    @property
    def contract(self) -> Contract:
        return spectral_contract(
            "approximate",
            self.gauge,
            keeps_coordinates=self.gauge not in REFACTORING,
        )

    def exchange(self, round_index: int) -> Exchange:
        return LORA

    def merge(self, layers: Mapping[str, LayerComponents]) -> dict[str, MergedLayer]:
        return merge_each(layers, self._merge_one)

    def _merge_one(self, layer: LayerComponents, size: Yardstick) -> MergedLayer:
        if is_settled(layer, size):
            return averaged(layer, size)
        parts = Centred.of(layer)
        step_b, step_a = descend(parts, self.num_sweeps)
        pair = Pair(parts.mean.lora_b + step_b, parts.mean.lora_a + step_a)
        error = parts.distance(size.gap, moved(parts, pair, step_b, step_a))
        if not error <= size.gap:
            error, pair = size.gap, parts.mean
        previous = layer.previous and double(layer.padded_previous())
        pair = regauged(pair, self.gauge, average=parts.mean, previous=previous)
        return MergedLayer(like(pair, layer), size.diagnostics(error))


def descend(parts: Centred, num_sweeps: int) -> tuple[Tensor, Tensor]:
    """Return how far B and A end from their averages.

    With ``B = Bbar + b``, ``A = Abar + a`` and the gap G: ``b = (G - Bbar a) A^+`` and
    ``a = B^+ (G - b Abar)``, in which nothing large cancels.
    """
    import torch

    mean_b, mean_a = parts.mean
    drift_b, drift_a = parts.drift
    step_b, step_a = torch.zeros_like(mean_b), torch.zeros_like(mean_a)
    for _ in range(num_sweeps):
        lora_a = mean_a + step_a
        slope = drift_b @ (drift_a @ lora_a.T) - mean_b @ (step_a @ lora_a.T)
        step_b = slope @ inverse(lora_a @ lora_a.T)
        lora_b = mean_b + step_b
        slope = (lora_b.T @ drift_b) @ drift_a - (lora_b.T @ step_b) @ mean_a
        step_a = inverse(lora_b.T @ lora_b) @ slope
    return step_b, step_a


def inverse(gram: Tensor) -> Tensor:
    """Return the pseudo-inverse of an r x r Gram matrix."""
    import torch

    found: Tensor = torch.linalg.pinv(gram, rtol=SINGULAR, hermitian=True)
    return found


def moved(parts: Centred, pair: Pair, step_b: Tensor, step_a: Tensor) -> Pair:
    """Return ``B A - Bbar Abar = b Abar + B a`` as one product."""
    import torch

    return Pair(
        torch.cat([step_b, pair.lora_b], dim=1),
        torch.cat([parts.mean.lora_a, step_a]),
    )
