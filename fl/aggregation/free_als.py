"""Free ALS: alternating least squares on the factors themselves (METHOD.md 11.2,
ours)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fl.aggregation.components import LayerComponents, MergedLayer, Pair, double, like
from fl.aggregation.gauge import REFACTORING, Gauge, regauged
from fl.aggregation.layerwise import LayerwiseMethod, averaged, is_average_exact
from fl.aggregation.method import Contract
from fl.aggregation.reference_norms import Centred, ReferenceNorms
from fl.aggregation.thin_svd import spectral_contract

if TYPE_CHECKING:
    from torch import Tensor

SINGULAR = 1e-12  # of the largest eigenvalue: such a direction is left unchanged


class FreeALS(LayerwiseMethod):
    """Fit B to ``W*`` with A fixed, then A with B fixed, from the plain average.

    Every half-step is a projection, so the error never grows; it approaches that of
    the SVD. W* is never formed. Traffic: r_u (m + n) numbers each way.
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

    def merge_layer(self, layer: LayerComponents, norms: ReferenceNorms) -> MergedLayer:
        if is_average_exact(layer, norms):
            return averaged(layer, norms)
        parts = Centred.of(layer)
        step_b, step_a = alternate(parts, self.num_sweeps)
        pair = Pair(parts.mean.lora_b + step_b, parts.mean.lora_a + step_a)
        change = product_change(parts, pair, step_b, step_a)
        error = parts.distance(norms.gap, change)
        if not error <= norms.gap:
            error, pair = norms.gap, parts.mean
        previous = layer.previous and double(layer.padded_previous())
        pair = regauged(pair, self.gauge, average=parts.mean, previous=previous)
        return MergedLayer(like(pair, layer), norms.diagnostics(error))


def alternate(parts: Centred, num_sweeps: int) -> tuple[Tensor, Tensor]:
    """Return the steps of B and A from their averages after ``num_sweeps`` sweeps.

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
        step_b = slope @ pseudo_inverse(lora_a @ lora_a.T)
        lora_b = mean_b + step_b
        slope = (lora_b.T @ drift_b) @ drift_a - (lora_b.T @ step_b) @ mean_a
        step_a = pseudo_inverse(lora_b.T @ lora_b) @ slope
    return step_b, step_a


def pseudo_inverse(gram: Tensor) -> Tensor:
    """Return the pseudo-inverse of an r x r Gram matrix."""
    import torch

    found: Tensor = torch.linalg.pinv(gram, rtol=SINGULAR, hermitian=True)
    return found


def product_change(parts: Centred, pair: Pair, step_b: Tensor, step_a: Tensor) -> Pair:
    """Return ``B A - Bbar Abar = b Abar + B a`` as one product."""
    import torch

    return Pair(
        torch.cat([step_b, pair.lora_b], dim=1),
        torch.cat([parts.mean.lora_a, step_a]),
    )
