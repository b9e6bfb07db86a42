"""FLoRA-NA: mixing scalars whose one product is nearly the ideal merge (arXiv
2509.26399); the paper leaves the solver open, this one is ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fl.aggregation.components import LayerComponents, MergedLayer, mix
from fl.aggregation.grams import Grams, batches, merged_layer, relative, stack_grams
from fl.record import Record

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 2.0**-52


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """The scalars ``P, Q`` [L, U] and the squared norms [L] that they reach."""

    left: Tensor
    right: Tensor
    squared_error: Tensor
    average_squared_error: Tensor
    squared_norm: Tensor  # of W*
    num_sweeps: int


class FloraNA(Record):
    """Send ``sum P_i B_i`` and ``sum Q_i A_i`` that fit ``W*`` best, by alternating
    least squares from the plain average; never worse than it."""

    kind: Literal["flora-na"] = "flora-na"
    ridge: float = Field(default=1e-8, ge=1e-13, lt=1)  # of each scalar's own curvature
    tolerance: float = Field(default=1e-8, ge=0, lt=1)  # relative decrease per sweep
    max_sweeps: int = Field(default=50, ge=1)
    gauge: Literal["average-scale", "none"] = "average-scale"

    def merge(self, layers: Mapping[str, LayerComponents]) -> dict[str, MergedLayer]:
        merged = {}
        for names in batches(layers):
            mixture = self.solve(stack_grams([layers[name] for name in names]))
            norm = mixture.squared_norm
            rows = zip(
                names,
                mixture.left.tolist(),
                mixture.right.tolist(),
                relative(mixture.squared_error, norm).tolist(),
                relative(mixture.average_squared_error, norm).tolist(),
                strict=True,
            )
            for name, left, right, error, average_error in rows:
                pair = mix(layers[name], left, right)
                merged[name] = merged_layer(layers[name], pair, error, average_error)
        return {name: merged[name] for name in layers}

    def solve(self, grams: Grams) -> Mixture:
        """Return the scalars of every layer of a batch.

        Unknowns are the deviations ``u, v`` from the average over the centred blocks:
        ``Bhat = X (e_0 + u)``, ``Ahat = (e_0 + v) Y``.
        """
        import torch

        start = grams.squared_norm(grams.average_gap())
        norm = grams.squared_norm(grams.ideal())
        left, right, num_sweeps = self._descend(grams, start, norm)
        end = grams.squared_norm(residual(grams, left, right))
        is_better = (end <= start)[:, None]
        left = torch.where(is_better, left, 0.0)
        right = torch.where(is_better, right, 0.0)
        scale = torch.ones_like(start)
        if self.gauge == "average-scale":
            scale = average_scale(grams, left, right)
        return Mixture(
            component_scalars(grams.weights, left) * scale[:, None],
            component_scalars(grams.weights, right) / scale[:, None],
            torch.where(is_better[:, 0], end, start),
            start,
            norm,
            num_sweeps,
        )

    def _descend(
        self, grams: Grams, start: Tensor, norm: Tensor
    ) -> tuple[Tensor, Tensor, int]:
        """Return the deviations after the last sweep, and how many sweeps ran."""
        import torch

        left = torch.zeros(grams.left.shape[:2], dtype=torch.float64)
        right = torch.zeros_like(left)
        swapped = Grams(grams.right, grams.left, grams.weights)  # W* transposed
        # Below this the result is exact in float64; also leaves out zeros and nan.
        active = start > EPSILON**2 * norm
        error = start
        for sweep in range(self.max_sweeps):
            if not active.any():
                return left, right, sweep
            step, gain_b = half_step(grams, left, right, self.ridge)
            left = left + torch.where(active[:, None], step, 0.0)
            step, gain_a = half_step(swapped, right, left, self.ridge)
            right = right + torch.where(active[:, None], step, 0.0)
            gain = gain_b + gain_a
            error = torch.where(active, error - gain, error).clamp(min=0)
            active = active & (gain > self.tolerance * error + EPSILON * start)
        return left, right, self.max_sweeps


def residual(grams: Grams, left: Tensor, right: Tensor) -> Tensor:
    """Return the coefficients [L, V, V] of ``W* - Bhat Ahat``, with no term of order
    one: ``sum w_i D_i E_i - (X u) Abar - Bhat (v Y)``."""
    coefficients = grams.average_gap() - full(left)[:, :, None] * right[:, None, :]
    coefficients[:, :, 0] -= left
    return coefficients


def half_step(
    grams: Grams, left: Tensor, right: Tensor, ridge: float
) -> tuple[Tensor, Tensor]:
    """Return the proximal least-squares step in ``left``, and how far it lowers the
    squared error: never negative, METHOD 11.1 with ``M, b`` of the centred blocks."""
    import torch

    along = full(right)
    products = (along[:, None, None, :] @ grams.right).squeeze(2)  # Y_j Ahat^T
    square = (along[:, None, :] @ products).transpose(1, 2)  # Ahat Ahat^T, [L, rr, 1]
    curvature = (grams.left.flatten(1, 2) @ square).view(grams.left.shape[:3])
    slope = residual(grams, left, right) @ products  # [L, V, rr]
    slope = (grams.left @ slope[..., None]).squeeze(3).sum(1)  # <residual, X_u Ahat>
    # In units of each block's own size: drifts of 1e-8 count as much as the mean.
    size = curvature.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt()
    size = size.masked_fill(size == 0, 1.0)
    curvature = curvature / (size[:, :, None] * size[:, None, :])
    slope = slope / size
    eye = torch.eye(slope.shape[1], dtype=torch.float64)
    step = torch.linalg.solve_ex(curvature + ridge * eye, slope).result
    bend = (curvature @ step[:, :, None]).squeeze(2)
    return step / size, (step * (2 * slope - bend)).sum(1)


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


def full(deviation: Tensor) -> Tensor:
    """Return ``e_0 + u``."""
    along = deviation.clone()
    along[:, 0] += 1.0
    return along
