"""Pairs ``(sum P_i B_i, sum Q_i A_i)``: FLoRA-NA, whatever its solver."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from fl.aggregation.components import (
    LayerComponents,
    MergedLayer,
    Pair,
    double,
    like,
    mix,
)
from fl.aggregation.gauge import REFACTORING, Gauge, regauged
from fl.aggregation.grams import (
    Grams,
    batches,
    full,
    product_error,
    residual,
    stack_grams,
)
from fl.aggregation.layerwise import averaged, is_average_exact
from fl.aggregation.method import (
    NEEDS_FACTORS,
    NEW_GAUGE,
    ONE_RANK,
    Ability,
    Contract,
)
from fl.aggregation.newton import Found
from fl.aggregation.reference_norms import ReferenceNorms, norms_of_batch

if TYPE_CHECKING:
    from torch import Tensor

CANCELLING = 1e-6  # of ||P - w|| ||W*||: below it Grams tell an error poorly

# Grams and the squared norms [L] of the averaging gap and of W*
Descent: TypeAlias = "Callable[[Grams, Tensor, Tensor], Found]"


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """The scalars ``P, Q`` [L, U] and the squared error [L] that they reach."""

    left: Tensor
    right: Tensor
    squared_error: Tensor
    has_converged: Tensor  # [L]


def mixing_contract(gauge: Gauge) -> Contract:
    """Return what any solver of this family promises."""
    cannot: dict[Ability, str] = {
        "unequal-ranks": ONE_RANK,
        "secure-aggregation": NEEDS_FACTORS,
    }
    if gauge in REFACTORING:
        cannot["server-optimiser"] = NEW_GAUGE
    return Contract(exactness="approximate", cannot=cannot)


def merge_mixed(
    layers: Mapping[str, LayerComponents], descent: Descent, gauge: Gauge
) -> dict[str, MergedLayer]:
    """Merge with the scalars that a descent finds, in batches of layers."""
    import torch

    merged = {}
    for names in batches(layers):
        grams = stack_grams([layers[name] for name in names])
        rounding = torch.finfo(layers[names[0]].pairs[0].lora_b.dtype).eps
        mixture = best_mixture(grams, descent, gauge, rounding)
        rows = zip(
            names,
            mixture.left.tolist(),
            mixture.right.tolist(),
            mixture.squared_error.sqrt().tolist(),
            strict=True,
        )
        done = zip(names, mixture.has_converged.tolist(), strict=True)
        _warn_of_open([name for name, is_done in done if not is_done])
        norms = norms_of_batch(layers, names, grams)
        for name, left, right, error in rows:
            scalars = left, right
            merged[name] = _mixed(layers[name], norms[name], scalars, error, gauge)
    return {name: merged[name] for name in layers}


def _mixed(
    layer: LayerComponents,
    norms: ReferenceNorms,
    scalars: tuple[Sequence[float], Sequence[float]],
    error: float,
    gauge: Gauge,
) -> MergedLayer:
    """Return the layer mixed by its scalars, or averaged where that is closer."""
    left, right = scalars
    pair = _pair(layer, norms, left, right, gauge=gauge)
    spreads = spread(left, layer.weights), spread(right, layer.weights)
    if error < CANCELLING * max(spreads) * norms.norm:
        exact = layer.double()
        error = norms.norm * product_error(exact, [mix(exact, left, right)])
    if error > norms.gap:  # by round-off
        return averaged(layer, norms, spreads=(0.0, 0.0))
    return MergedLayer(pair, norms.diagnostics(error, spreads))


def _warn_of_open(names: Sequence[str]) -> None:
    """Warn of layers whose scalars could still be better."""
    if names:
        warnings.warn(
            f"flora-na: the scalars of {len(names)} layers have not converged "
            f"({names[0]!r} among them); what they reached is merged",
            RuntimeWarning,
            stacklevel=2,
        )


def best_mixture(
    grams: Grams, descent: Descent, gauge: Gauge, rounding: float
) -> Mixture:
    """Return the scalars of every layer of a batch, the average's where none is better
    or the gap is within the relative rounding of the pair that is sent.

    Unknowns are the deviations ``u, v`` from the average over the centred blocks:
    ``Bhat = X (e_0 + u)``, ``Ahat = (e_0 + v) Y``.
    """
    import torch

    start = grams.squared_norm(grams.average_gap())
    norm = grams.squared_norm(grams.ideal())
    left, right, _, has_converged = descent(grams, start, norm)
    end = grams.squared_norm(residual(grams, left, right))
    is_better = ((end <= start) & (start > rounding**2 * norm))[:, None]
    left = torch.where(is_better, left, 0.0)
    right = torch.where(is_better, right, 0.0)
    scale = torch.ones_like(start)
    if gauge == "scale-matched":
        scale = average_scale(grams, left, right)
    return Mixture(
        component_scalars(grams.weights, left) * scale[:, None],
        component_scalars(grams.weights, right) / scale[:, None],
        torch.where(is_better[:, 0], end, start),
        has_converged,
    )


def _pair(
    layer: LayerComponents,
    norms: ReferenceNorms,
    left: Sequence[float],
    right: Sequence[float],
    *,
    gauge: Gauge,
) -> Pair:
    """Return the mixed pair in its gauge; scales are in the scalars already."""
    is_finite = norms.norm < float("inf")
    if (
        gauge in ("as-is", "scale-matched")
        or is_average_exact(layer, norms)
        or not is_finite
    ):
        return mix(layer, left, right)
    exact = layer.double()
    average = mix(exact, exact.weights, exact.weights)
    previous = exact.previous and double(exact.padded_previous())
    pair = mix(exact, left, right)
    pair = regauged(pair, gauge, average=average, previous=previous)
    return like(pair, layer)


def spread(scalars: Sequence[float], weights: Sequence[float]) -> float:
    """Return how far the scalars are from the weights, ``||P - w|| / ||w||``."""
    distance = sum((p - w) ** 2 for p, w in zip(scalars, weights, strict=True))
    return float((distance / sum(w**2 for w in weights)) ** 0.5)


def average_scale(grams: Grams, left: Tensor, right: Tensor) -> Tensor:
    """Return ``c`` [L] such that ``||c Bhat|| / ||Ahat / c||`` is the average's."""
    import torch

    before = block_norm(grams.left, 0 * left) / block_norm(grams.right, 0 * right)
    after = block_norm(grams.left, left) / block_norm(grams.right, right)
    scale = (before / after).sqrt()
    return torch.where(scale.isfinite() & (scale > 0), scale, 1.0)


def block_norm(gram: Tensor, deviation: Tensor) -> Tensor:
    """Return ``||X (e_0 + u)||_F`` per layer."""
    num_blocks = gram.shape[1]
    rank = round(gram.shape[3] ** 0.5)
    traces = gram[..., :: rank + 1].sum(3).view(-1, num_blocks, num_blocks)
    along = full(deviation)[:, :, None]
    return (along.transpose(1, 2) @ traces @ along).flatten().clamp(min=0).sqrt()


def component_scalars(weights: Tensor, deviation: Tensor) -> Tensor:
    """Return ``P`` [L, U] with ``sum P_i B_i = X (e_0 + u)``; ``w`` itself at 0."""
    mean_part = 1.0 + deviation[:, :1] - deviation[:, 1:].sum(1, keepdim=True)
    return deviation[:, 1:] + mean_part * weights
