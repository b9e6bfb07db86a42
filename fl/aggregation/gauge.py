"""The gauge of a pair, its coordinates: ``(B G, G^-1 A)`` is one product for every G.

The gauge changes how local training continues, not the model. Least-squares alignment
over all G is not offered: it diverges.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from fl.aggregation.components import Pair
from fl.aggregation.spectral import balanced, exact_spectrum

if TYPE_CHECKING:
    from torch import Tensor

Gauge: TypeAlias = Literal[
    "as-is",  # as the method leaves it
    "scale-matched",  # ||B|| / ||A|| of the plain average
    "balanced",  # U sqrt(S), sqrt(S) V^T, largest first: a prefix is optimal
    "procrustes",  # balanced, then rotated towards the previous pair
    "hadamard",  # balanced, then all columns of one norm: least sketching variance
]
REFACTORING: tuple[Gauge, ...] = ("balanced", "hadamard")
ORDERED: tuple[Gauge, ...] = ("balanced",)


def regauged(pair: Pair, gauge: Gauge, *, average: Pair, previous: Pair | None) -> Pair:
    """Return the same product in another gauge; all pairs are float64 and of one rank.

    Without a previous pair, ``procrustes`` rotates towards the plain average.
    """
    if gauge == "as-is":
        return pair
    if gauge == "scale-matched":
        scale = matching_scale(pair, average)
        return Pair(pair.lora_b * scale, pair.lora_a / scale)
    even = balanced(exact_spectrum(pair), pair.lora_a.shape[0], average)
    if gauge == "procrustes":
        return rotated(even, procrustes_rotation(even, previous or average))
    if gauge == "hadamard":
        return rotated(even, hadamard(even.lora_a.shape[0]))
    return even


def matching_scale(pair: Pair, average: Pair) -> float:
    """Return the ``c`` that gives the pair the average's ``||B|| / ||A||``, else 1."""
    sizes = [float(f.norm()) for f in (*average, *pair)]
    if not all(0 < size < float("inf") for size in sizes):
        return 1.0
    return float((sizes[0] / sizes[1] / (sizes[2] / sizes[3])) ** 0.5)


def rotated(pair: Pair, rotation: Tensor) -> Pair:
    """Return ``(B O, O^T A)`` for an orthogonal O."""
    return Pair(pair.lora_b @ rotation, rotation.T @ pair.lora_a)


def procrustes_rotation(pair: Pair, target: Pair) -> Tensor:
    """Return the orthogonal O for which ``(B O, O^T A)`` is closest to the target."""
    import torch

    overlap = pair.lora_b.T @ target.lora_b + pair.lora_a @ target.lora_a.T
    u, _, v = torch.linalg.svd(overlap)
    rotation: Tensor = u @ v
    return rotation


def hadamard(rank: int) -> Tensor:
    """Return the orthonormal Hadamard matrix of a rank that is a power of two."""
    import torch

    if rank & (rank - 1):
        raise ValueError(
            f"gauge 'hadamard' needs a rank that is a power of two, got {rank}"
        )
    matrix = torch.ones(1, 1, dtype=torch.float64)
    while len(matrix) < rank:
        matrix = torch.cat(
            [torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)]
        )
    scaled: Tensor = matrix / rank**0.5
    return scaled
