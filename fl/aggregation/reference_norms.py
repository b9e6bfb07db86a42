"""Against what a merge is measured: the norms of W*, of the averaging gap and of the
round's update, from Grams of centred factors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fl.aggregation.components import (
    LayerComponents,
    MergeDiagnostics,
    MergedLayer,
    Pair,
    double,
    mix,
)
from fl.aggregation.grams import Grams, batches, centred, core_norm, stack_grams

if TYPE_CHECKING:
    from torch import Tensor

CANCELLING = 1e-10  # of a squared norm: what differences of squares tell poorly


@dataclass(frozen=True, slots=True)
class Yardstick:
    """Frobenius norms of one layer's round."""

    num_components: int
    norm: float  # ||W*||
    gap: float  # ||W* - Bbar Abar||
    update: float | None  # ||W* - previous||

    def diagnostics(
        self, error: float, spreads: tuple[float, float] | None = None
    ) -> MergeDiagnostics:
        """Return what is known of a merge that misses W* by ``error``."""
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


@dataclass(frozen=True, slots=True, eq=False)
class Centred:
    """One layer as ``W* = mean_b mean_a + drift_b drift_a``, in float64.

    The second product is the averaging gap itself, not a difference of larger numbers;
    the weights are in ``drift_b``.
    """

    mean: Pair  # [m, r], [r, n]
    drift: Pair  # [m, U r], [U r, n]

    @classmethod
    def of(cls, layer: LayerComponents) -> Centred:
        """Return the means and drifts of a layer's components."""
        import torch

        left, right = centred(layer)
        weights = torch.tensor(layer.weights, dtype=torch.float64)
        weighted = left[1:] * weights[:, None, None]
        return cls(
            Pair(left[0].T, right[0]),
            Pair(weighted.flatten(0, 1).T, right[1:].flatten(0, 1)),
        )

    def distance(self, gap: float, product: Pair) -> float:
        """Return ``||W* - Bbar Abar - product||``, ``gap`` the norm without it.

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
    """Return the relative error, 0 where both are 0; nan stays nan."""
    if norm:
        return error / norm
    return error if not error > 0 else float("inf")


def measured(
    layers: Mapping[str, LayerComponents], names: Sequence[str], grams: Grams
) -> dict[str, Yardstick]:
    """Return the yardsticks of the layers of one batch of Grams."""
    norms = grams.squared_norm(grams.ideal()).sqrt().tolist()
    gaps = grams.squared_norm(grams.average_gap()).sqrt().tolist()
    return {
        name: Yardstick(
            len(layers[name].pairs), norm, gap, _update_norm(layers[name], gap)
        )
        for name, norm, gap in zip(names, norms, gaps, strict=True)
    }


def yardsticks(layers: Mapping[str, LayerComponents]) -> dict[str, Yardstick]:
    """Return the yardstick of every layer."""
    found: dict[str, Yardstick] = {}
    for names in batches(layers):
        grams = stack_grams([layers[name] for name in names])
        found.update(measured(layers, names, grams))
    return found


def merge_each(
    layers: Mapping[str, LayerComponents],
    merge_one: Callable[[LayerComponents, Yardstick], MergedLayer],
) -> dict[str, MergedLayer]:
    """Merge layer by layer; where one is not finite, its average shows nan."""
    sizes = yardsticks(layers)
    return {
        name: merge_one(layer, sizes[name])
        if sizes[name].norm < float("inf")
        else averaged(layer, sizes[name])
        for name, layer in layers.items()
    }


def averaged(
    layer: LayerComponents,
    size: Yardstick,
    spreads: tuple[float, float] | None = None,
) -> MergedLayer:
    """Return the plain average of the factors."""
    pair = mix(layer, layer.weights, layer.weights)
    return MergedLayer(pair, size.diagnostics(size.gap, spreads))


def is_settled(layer: LayerComponents, size: Yardstick) -> bool:
    """Return whether the average is the answer: one component, or B still zero."""
    return len(layer.pairs) == 1 or (size.norm == 0 and size.gap == 0)


def _update_norm(layer: LayerComponents, gap: float) -> float | None:
    """Return ``||W* - Bp Ap||``, by the small differences to the means."""
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
