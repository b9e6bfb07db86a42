"""FLoRA-NA: mixing scalars whose one product is nearly the ideal merge (arXiv
2509.26399); the paper leaves the solver open, this one is ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fl.aggregation.components import LayerComponents, MergedLayer
from fl.aggregation.gauge import Gauge
from fl.aggregation.grams import Grams, full, residual
from fl.aggregation.method import LORA, Contract, Exchange
from fl.aggregation.mixing import merge_mixed, mixing_contract
from fl.aggregation.newton import Found, deepest, disagree
from fl.record import Record

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 2.0**-52


class FloraNA(Record):
    """Send ``sum P_i B_i`` and ``sum Q_i A_i`` that fit ``W*`` best, by alternating
    least squares from the plain average; never worse than it.

    Where that has not converged after ``max_sweeps``, Newton steps go on from there;
    where the factors of the components disagree, single components are starts too and
    the best end is kept (``fl.aggregation.newton``). A layer that has still not
    converged is reported by a warning.

    P and Q stay on the server. DoRA's magnitudes go through ``fl.aggregation.dora``;
    HiRA needs nothing more, see ``fl.aggregation.hira``. Traffic: r (m + n) numbers
    each way.
    """

    kind: Literal["flora-na"] = "flora-na"
    ridge: float = Field(default=1e-8, ge=1e-13, lt=1)  # of each scalar's own curvature
    tolerance: float = Field(default=1e-8, ge=0, lt=1)  # relative decrease per sweep
    max_sweeps: int = Field(default=50, ge=1)
    gauge: Gauge = "scale-matched"

    @property
    def contract(self) -> Contract:
        return mixing_contract(self.gauge)

    def exchange(self, round_index: int) -> Exchange:
        return LORA

    def merge(self, layers: Mapping[str, LayerComponents]) -> dict[str, MergedLayer]:
        return merge_mixed(layers, self._descend, self.gauge)

    def _descend(self, grams: Grams, start: Tensor, norm: Tensor) -> Found:
        # Below this the result is exact in float64; also leaves out zeros and nan.
        is_open = start > EPSILON**2 * norm
        found = self._alternate(grams, start, is_open)
        apart = is_open & disagree(grams)
        rows = (apart | ~found.has_converged).nonzero().flatten()
        if len(rows):
            better = deepest(
                grams.layers(rows),
                found.left[rows],
                found.right[rows],
                apart[rows],
                self.tolerance,
            )
            for part, value in zip(found, better, strict=True):
                part.index_copy_(0, rows, value)
        return found

    def _alternate(self, grams: Grams, start: Tensor, active: Tensor) -> Found:
        """Return the end of alternating least squares from the plain average."""
        import torch

        left = torch.zeros(grams.left.shape[:2], dtype=torch.float64)
        right = torch.zeros_like(left)
        swapped = Grams(grams.right, grams.left, grams.weights)  # W* transposed
        error = start
        for _ in range(self.max_sweeps):
            if not active.any():
                break
            step, gain_b = half_step(grams, left, right, self.ridge)
            left = left + torch.where(active[:, None], step, 0.0)
            step, gain_a = half_step(swapped, right, left, self.ridge)
            right = right + torch.where(active[:, None], step, 0.0)
            gain = gain_b + gain_a
            error = torch.where(active, error - gain, error).clamp(min=0)
            active = active & (gain > self.tolerance * error + EPSILON * start)
        return Found(left, right, error, ~active)


def half_step(
    grams: Grams, left: Tensor, right: Tensor, ridge: float
) -> tuple[Tensor, Tensor]:
    """Return the proximal least-squares step in ``left``, and how far it lowers the
    squared error: never negative; METHOD.md 11.1 with ``M, b`` of centred blocks."""
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
