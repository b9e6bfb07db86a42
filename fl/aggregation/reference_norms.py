"""The norms that errors of a merge are divided by: of W*, of the averaging gap and of
the round's update, from Gram matrices of centred factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fl.aggregation.components import (
    LayerComponents,
    MergeDiagnostics,
    Pair,
    double,
)
from fl.aggregation.grams import (
    Grams,
    batches,
    centred,
    core_norm,
    product_error,
    stack_grams,
)

if TYPE_CHECKING:
    from torch import Tensor

CANCELLING = 1e-10  # of a squared norm: what differences of squares tell poorly


@dataclass(frozen=True, slots=True)
class ReferenceNorms:
    """Frobenius norms of one layer in one round."""

    num_components: int
    norm: float  # ||W*||
    gap: float  # ||W* - Bbar Abar||
    update: float | None  # ||W* - previous||

    def diagnostics(
        self, error: float, spreads: tuple[float, float] | None = None
    ) -> MergeDiagnostics:
        """Return the diagnostics of a merge at distance ``error`` from W*."""
        left, right = spreads or (None, None)
        update = None if self.update is None else ratio(error, self.update)
        return MergeDiagnostics(
            num_components=self.num_components,
            relative_error=ratio(error, self.norm),
            average_relative_error=ratio(self.gap, self.norm),
            update_relative_error=update,
            left_spread=left,
            right_spread=right,
        )

    def of_products(
        self, layer: LayerComponents, products: Sequence[Pair]
    ) -> MergeDiagnostics:
        """Return the diagnostics of a merge to these pairs, as they are rounded."""
        error = product_error(layer, products)
        return replace(self.diagnostics(error * self.norm), relative_error=error)


@dataclass(frozen=True, slots=True, eq=False)
class Centred:
    """One layer as ``W* = mean_b mean_a + drift_b drift_a``, in float64.

    The second product is the averaging gap, so no larger numbers cancel; ``drift_b``
    contains the weights.
    """

    mean: Pair  # [m, r], [r, n]
    drift: Pair  # [m, U r], [U r, n]

    @classmethod
    def of(cls, layer: LayerComponents) -> Centred:
        """Return the weighted means and drifts of a layer's components."""
        import torch

        left, right = centred(layer)
        weights = torch.tensor(layer.weights, dtype=torch.float64)
        weighted = left[1:] * weights[:, None, None]
        return cls(
            Pair(left[0].T, right[0]),
            Pair(weighted.flatten(0, 1).T, right[1:].flatten(0, 1)),
        )

    def distance(self, gap: float, product: Pair) -> float:
        """Return ``||W* - Bbar Abar - product||``, ``gap`` is ``||W* - Bbar Abar||``.

        Where squares cancel, by QR: an exact merge shows as 1e-16 and not as 1e-8.
        """
        import torch

        overlap_b = self.drift.lora_b.T @ product.lora_b
        overlap_a = self.drift.lora_a @ product.lora_a.T
        own_b = product.lora_b.T @ product.lora_b
        own_a = product.lora_a @ product.lora_a.T
        cross, own = (overlap_b * overlap_a).sum(), (own_b * own_a).sum()
        square = (gap**2 - 2 * cross + own).clamp(min=0)
        if not square <= CANCELLING * gap**2:  # nan too
            return float(square.sqrt())
        lefts = [self.drift.lora_b.T, product.lora_b.T]
        rights = [self.drift.lora_a, product.lora_a]
        signs = [torch.ones(len(lefts[0])), -torch.ones(len(lefts[1]))]
        return float(core_norm(lefts, rights, [sign.double() for sign in signs]))


def ratio(error: float, norm: float) -> float:
    """Return ``error / norm``; 0 where both are 0, and nan for nan."""
    if norm:
        return error / norm
    return error if not error > 0 else float("inf")


def norms_of_batch(
    layers: Mapping[str, LayerComponents], names: Sequence[str], grams: Grams
) -> dict[str, ReferenceNorms]:
    """Return the norms of each layer of one batch of Grams, by layer name."""
    norms = grams.squared_norm(grams.ideal()).sqrt().tolist()
    gaps = grams.squared_norm(grams.average_gap()).sqrt().tolist()
    return {
        name: ReferenceNorms(
            len(layers[name].pairs), norm, gap, _update_norm(layers[name], gap)
        )
        for name, norm, gap in zip(names, norms, gaps, strict=True)
    }


def reference_norms(layers: Mapping[str, LayerComponents]) -> dict[str, ReferenceNorms]:
    """Return the norms of each layer, by layer name."""
    found: dict[str, ReferenceNorms] = {}
    for names in batches(layers):
        grams = stack_grams([layers[name] for name in names])
        found.update(norms_of_batch(layers, names, grams))
    return found


def _update_norm(layer: LayerComponents, gap: float) -> float | None:
    """Return ``||W* - previous||`` from the small differences to the means."""
    import torch

    if layer.previous is None:
        return None
    parts = Centred.of(layer)
    before = double(layer.padded_previous())
    drift_b = before.lora_b - parts.mean.lora_b
    drift_a = before.lora_a - parts.mean.lora_a
    left: Tensor = torch.cat([drift_b, before.lora_b], dim=1)
    right = torch.cat([parts.mean.lora_a, drift_a])
    return parts.distance(gap, Pair(left, right))
