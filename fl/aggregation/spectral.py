"""Singular values and vectors of a sum of low-rank products, never formed densely."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fl.aggregation.components import LayerComponents, Pair, double

if TYPE_CHECKING:
    from torch import Tensor

OVERSAMPLING = 8
POWER_STEPS = 2
NEGLIGIBLE = 1e-12  # of the largest singular value: a direction that no one trained


@dataclass(frozen=True, slots=True, eq=False)
class Spectrum:
    """The leading singular triples, largest first, and the norm of all the others."""

    left: Tensor  # [m, k]
    values: Tensor  # [k]
    right: Tensor  # [k, n]
    rest: float

    def tail(self, rank: int) -> float:
        """Return the error of keeping the first ``rank`` directions."""
        return math.hypot(float(self.values[rank:].norm()), self.rest)

    def section(self, start: int, stop: int) -> Pair:
        """Return directions ``start`` to ``stop`` as (U S, V^T)."""
        scaled = self.left[:, start:stop] * self.values[start:stop]
        return Pair(scaled, self.right[start:stop])

    def smallest_rank(self, energy: float) -> int:
        """Return the smallest rank that keeps this share of the squared norm."""
        squares = self.values**2
        total = float(squares.sum()) + self.rest**2
        kept = squares.cumsum(0) >= energy * total * (1 - 1e-15)
        found = kept.nonzero()
        return int(found[0]) + 1 if len(found) else len(self.values)


def stack(pairs: Sequence[Pair], weights: Sequence[float]) -> Pair:
    """Return ``[w_1 B_1 ..] [A_1; ..]``, whose product is the weighted sum, in
    float64; weights of zero are left out."""
    import torch

    terms = [
        (double(p), w)
        for p, w in zip(pairs, weights, strict=True)
        if w or len(pairs) < 2
    ]
    return Pair(
        torch.cat([pair.lora_b * weight for pair, weight in terms], dim=1),
        torch.cat([pair.lora_a for pair, _ in terms]),
    )


def ideal_stack(layer: LayerComponents) -> Pair:
    """Return W* as one product."""
    return stack(layer.pairs, layer.weights)


def exact_spectrum(product: Pair) -> Spectrum:
    """Return all singular triples, by QR of both factors and the SVD of the core."""
    import torch

    left, left_core = torch.linalg.qr(product.lora_b)
    right, right_core = torch.linalg.qr(product.lora_a.T)
    u, values, v = torch.linalg.svd(left_core @ right_core.T, full_matrices=False)
    return Spectrum(left @ u, values, v @ right.T, 0.0)


def leading_spectrum(product: Pair, rank: int, norm: float) -> Spectrum:
    """Return about the first ``rank`` triples of a product of Frobenius norm ``norm``.

    The randomised range finder of Halko et al. (arXiv 0909.4061) with oversampling 8
    and two power steps. Its test matrix is a fixed one, so that a rerun is the same.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    width = min(rank + OVERSAMPLING, *product.lora_b.shape, product.lora_a.shape[1])
    shape = (product.lora_a.shape[1], width)
    basis = torch.randn(shape, generator=generator, dtype=torch.float64)
    for step in range(POWER_STEPS + 1):
        basis = torch.linalg.qr(product.lora_b @ (product.lora_a @ basis)).Q
        if step < POWER_STEPS:
            basis = torch.linalg.qr(product.lora_a.T @ (product.lora_b.T @ basis)).Q
    rows = (basis.T @ product.lora_b) @ product.lora_a
    u, values, v = torch.linalg.svd(rows, full_matrices=False)
    rest = max(0.0, norm**2 - float((values**2).sum())) ** 0.5
    return Spectrum(basis @ u, values, v, rest)


def balanced(spectrum: Spectrum, rank: int, average: Pair) -> Pair:
    """Return ``(U sqrt(S), sqrt(S) V^T)`` at exactly this rank, directions by size.

    Dead ranks, whose singular value is zero, get the rows of the averaged A that the
    live ones leave out, and B = 0: there they can be trained again (METHOD.md 3).
    """
    import torch

    values = spectrum.values[:rank]
    num_live = int((values > NEGLIGIBLE * values[:1]).sum())
    root = values[:num_live].sqrt()
    num_dead = rank - num_live
    lora_b = torch.zeros(len(spectrum.left), rank, dtype=torch.float64)
    lora_b[:, :num_live] = spectrum.left[:, :num_live] * root
    live = spectrum.right[:num_live]
    if not num_dead:
        return Pair(lora_b, live * root[:, None])
    left_out = average.lora_a - (average.lora_a @ live.T) @ live
    _, sizes, directions = torch.linalg.svd(left_out, full_matrices=False)
    revived = torch.zeros(num_dead, left_out.shape[1], dtype=torch.float64)
    kept = min(num_dead, len(sizes))
    revived[:kept] = sizes[:kept, None] * directions[:kept]
    return Pair(lora_b, torch.cat([live * root[:, None], revived]))
