"""Norms of sums of low-rank products, from small matrices and without cancellation.

With the weighted means ``Bbar, Abar`` and the drifts ``D_i = B_i - Bbar``,
``E_i = A_i - Abar``,

    W* = Bbar Abar + sum w_i D_i E_i ,

so what averaging misses is known directly, not as a difference of two large numbers.
Everything here is written over the blocks ``X = (Bbar, D_1 .. D_U)`` and
``Y = (Abar, E_1 .. E_U)``: a matrix ``sum K_ij X_i Y_j`` is its coefficients ``K``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fl.aggregation.components import LayerComponents, Pair

if TYPE_CHECKING:
    from torch import Tensor

SMALLEST_HALF = 128  # rows of a Gram matrix below which halving it costs time
MAX_BATCH_NUMBERS = 2**25  # float64 numbers in the Grams of one batch: 256 MiB


@dataclass(frozen=True, slots=True, eq=False)
class Grams:
    """Inner products of the blocks of L layers in float64; V = U + 1 blocks each."""

    left: Tensor  # [L, V, V, r * r], X_i^T X_k
    right: Tensor  # [L, V, V, r * r], Y_j Y_l^T
    weights: Tensor  # [L, U]

    def layers(self, rows: Tensor) -> Grams:
        """Return the Grams of some of the layers."""
        return Grams(self.left[rows], self.right[rows], self.weights[rows])

    def squared_norm(self, coefficients: Tensor) -> Tensor:
        """Return ``||sum K_ij X_i Y_j||_F^2`` per layer, for K of shape [L, V, V]."""
        import torch

        half = torch.einsum("lij,likc->ljkc", coefficients, self.left)
        both = torch.einsum("ljkc,lkm->ljmc", half, coefficients)
        return (both * self.right).sum((1, 2, 3)).clamp(min=0)

    def ideal(self) -> Tensor:
        """Return the coefficients [L, V, V] of ``W*``."""
        import torch
        from torch.nn.functional import pad

        return torch.diag_embed(pad(self.weights, (1, 0), value=1.0))

    def average_gap(self) -> Tensor:
        """Return the coefficients [L, V, V] of ``W* - Bbar Abar = sum w_i D_i E_i``."""
        import torch
        from torch.nn.functional import pad

        return torch.diag_embed(pad(self.weights, (1, 0)))


def batches(layers: Mapping[str, LayerComponents]) -> Iterator[list[str]]:
    """Yield names of layers with equally many components of one rank, few at a time.

    The small problems do not depend on a layer's width, so all may share a batch.
    """
    groups: dict[tuple[int, int], list[str]] = {}
    for name, layer in layers.items():
        groups.setdefault((len(layer.pairs), layer.rank), []).append(name)
    for (num_components, rank), names in groups.items():
        numbers = 2 * ((num_components + 1) * rank) ** 2
        size = max(1, MAX_BATCH_NUMBERS // numbers)
        for start in range(0, len(names), size):
            yield names[start : start + size]


def stack_grams(layers: Sequence[LayerComponents]) -> Grams:
    """Return the Grams of layers with equally many components of one rank."""
    import torch

    lefts, rights = [], []
    for layer in layers:
        left, right = centred(layer)
        lefts.append(block_gram(left))
        rights.append(block_gram(right))
    weights = torch.tensor([layer.weights for layer in layers], dtype=torch.float64)
    return Grams(torch.stack(lefts), torch.stack(rights), weights)


def centred(layer: LayerComponents) -> tuple[Tensor, Tensor]:
    """Return the blocks X transposed, [V, r, m], and Y, [V, r, n], in float64."""
    import torch

    pairs = layer.padded()
    weights = torch.tensor(layer.weights, dtype=torch.float64)
    left = torch.stack([pair.lora_b.detach().cpu().T for pair in pairs]).double()
    right = torch.stack([pair.lora_a.detach().cpu() for pair in pairs]).double()
    return centre(left, weights), centre(right, weights)


def centre(rows: Tensor, weights: Tensor) -> Tensor:
    """Return the mean [1, r, d] and the drifts [U, r, d] of factors [U, r, d].

    The mean is removed twice: the first mean is off by round-off, which next to small
    drifts would not be small.
    """
    import torch

    blocks = torch.empty(len(rows) + 1, *rows.shape[1:], dtype=rows.dtype)
    mean, drifts = blocks[0], blocks[1:]
    mean.copy_(torch.tensordot(weights, rows, 1))
    torch.sub(rows, mean, out=drifts)
    correction = torch.tensordot(weights, drifts, 1)
    drifts.sub_(correction)
    mean.add_(correction)
    return blocks


def block_gram(rows: Tensor) -> Tensor:
    """Return the Gram [V, V, r * r] of blocks [V, r, d]."""
    num_blocks, rank, _ = rows.shape
    gram = symmetric(rows.flatten(0, 1)).view(num_blocks, rank, num_blocks, rank)
    return gram.transpose(1, 2).reshape(num_blocks, num_blocks, rank * rank)


def symmetric(rows: Tensor) -> Tensor:
    """Return ``rows @ rows.T``, what lies below the diagonal mirrored, not computed."""
    import torch

    half = len(rows) // 2
    if half < SMALLEST_HALF:
        return rows @ rows.T
    above = rows[:half] @ rows[half:].T
    gram = torch.empty(len(rows), len(rows), dtype=rows.dtype)
    gram[:half, :half] = symmetric(rows[:half])
    gram[half:, half:] = symmetric(rows[half:])
    gram[:half, half:] = above
    gram[half:, :half] = above.T
    return gram


def relative(squared_error: Tensor, squared_norm: Tensor) -> Tensor:
    """Return the relative error, 0 where both are 0; nan stays nan."""
    import torch

    is_zero = (squared_error == 0) & (squared_norm == 0)
    return torch.where(is_zero, 0.0, (squared_error / squared_norm).sqrt())


def residual(grams: Grams, left: Tensor, right: Tensor) -> Tensor:
    """Return the coefficients [L, V, V] of ``W* - Bhat Ahat``, with no term of order
    one: ``sum w_i D_i E_i - (X u) Abar - Bhat (v Y)``."""
    coefficients = grams.average_gap() - full(left)[:, :, None] * right[:, None, :]
    coefficients[:, :, 0] -= left
    return coefficients


def full(deviation: Tensor) -> Tensor:
    """Return ``e_0 + u``."""
    along = deviation.clone()
    along[:, 0] += 1.0
    return along


def product_error(layer: LayerComponents, products: Sequence[Pair]) -> float:
    """Return ``||W* - sum of products||_F / ||W*||_F`` for any pairs, folds included.

    By QR of the stacked factors, so exact results show as about 1e-16 and not, as
    from Grams, as 1e-8.
    """
    import torch

    left, right = centred(layer)
    rank = left.shape[1]
    coefficients = torch.tensor((1.0, *layer.weights), dtype=torch.float64)
    scales = [coefficients.repeat_interleave(rank)]
    lefts, rights = [left.flatten(0, 1)], [right.flatten(0, 1)]
    norm = core_norm(lefts, rights, scales)
    for lora_b, lora_a in products:
        lefts.append(lora_b.detach().cpu().double().T)
        rights.append(lora_a.detach().cpu().double())
        scales.append(-torch.ones(lora_a.shape[0], dtype=torch.float64))
    return float(relative(core_norm(lefts, rights, scales) ** 2, norm**2))


def core_norm(
    lefts: Sequence[Tensor], rights: Sequence[Tensor], scales: Sequence[Tensor]
) -> Tensor:
    """Return ``||sum s_k left_k^T right_k||_F`` over the rows of the stacks."""
    import torch

    left = torch.linalg.qr(torch.cat(list(lefts)).T, mode="r").R
    right = torch.linalg.qr(torch.cat(list(rights)).T, mode="r").R
    core = (left * torch.cat(list(scales))) @ right.T
    norm: Tensor = torch.linalg.matrix_norm(core)
    return norm
