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
NEGLIGIBLE = 1e-12  # of the largest singular value: an untrained direction


@dataclass(frozen=True, slots=True, eq=False)
class Spectrum:
    """The leading singular triples, largest first, and the norm of the others."""

    left: Tensor  # [m, k]
    values: Tensor  # [k]
    right: Tensor  # [k, n]
    rest: float

    def tail(self, rank: int) -> float:
        """Return the Frobenius norm of all but the first ``rank`` directions."""
        return math.hypot(float(self.values[rank:].norm()), self.rest)

    def section(self, start: int, stop: int) -> Pair:
        """Return the directions from ``start`` up to ``stop`` as (U S, V^T)."""
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
    """Return ``[w_1 B_1 ..]`` and ``[A_1; ..]`` in float64, without zero weights; their
    product is the weighted sum."""
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
    """Return approximately the first ``rank`` triples of a product of Frobenius norm
    ``norm``.

    The randomised range finder of Halko et al. (arXiv 0909.4061) with oversampling 8
    and two power steps. The test matrix is fixed, so reruns are identical.
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
    """Return ``(U sqrt(S), sqrt(S) V^T)`` of exactly this rank, largest values first.

    Where a singular value is zero, B is zero and A gets a direction of the averaged A
    that the others do not span, so that this rank can still be trained (METHOD.md 3).
    """
    import torch

    values = spectrum.values[:rank]
    num_nonzero = int((values > NEGLIGIBLE * values[:1]).sum())
    root = values[:num_nonzero].sqrt()
    num_zero = rank - num_nonzero
    lora_b = torch.zeros(len(spectrum.left), rank, dtype=torch.float64)
    lora_b[:, :num_nonzero] = spectrum.left[:, :num_nonzero] * root
    nonzero = spectrum.right[:num_nonzero]
    if not num_zero:
        return Pair(lora_b, nonzero * root[:, None])
    unspanned = average.lora_a - (average.lora_a @ nonzero.T) @ nonzero
    _, sizes, directions = torch.linalg.svd(unspanned, full_matrices=False)
    restarted = torch.zeros(num_zero, unspanned.shape[1], dtype=torch.float64)
    kept = min(num_zero, len(sizes))
    restarted[:kept] = sizes[:kept, None] * directions[:kept]
    return Pair(lora_b, torch.cat([nonzero * root[:, None], restarted]))
