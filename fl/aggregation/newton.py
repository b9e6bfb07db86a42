"""Newton steps on the mixing scalars, for components whose factors do not agree.

Alternating least squares needs hundreds of sweeps where factors are rotated against
each other, as adapters are that share no start, and there the valley next to the plain
average need not be the deepest (derived here; the objective is METHOD.md 11.1's).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fl.aggregation.grams import Grams, full, residual

if TYPE_CHECKING:
    from torch import Tensor

MAX_STEPS = 200
NUM_TRIAL_STEPS = 10  # from each start; the best few then go on
NUM_STARTS = 16  # components of the largest weights, at most
NUM_KEPT = 3
LEAST_DAMPING, FIRST_DAMPING, MOST_DAMPING = 1e-8, 1e-3, 1e8
DISAGREEMENT = 0.25  # of the squared drifts per squared mean, in both factors


class Found(NamedTuple):
    """Deviations [L, V] from the average, their squared error [L], and whether a step
    no longer lowers it [L]."""

    left: Tensor
    right: Tensor
    squared_error: Tensor
    has_converged: Tensor


def disagree(grams: Grams) -> Tensor:
    """Return per layer whether both factors drift far from their means.

    Clients that share a start agree in A at least, and there the average's own valley
    was the deepest in all trials.
    """
    import torch

    sizes = []
    for gram in (grams.left, grams.right):
        rank = round(gram.shape[3] ** 0.5)
        own = gram[..., :: rank + 1].sum(3).diagonal(dim1=1, dim2=2)  # [L, V]
        drift = (grams.weights.abs() * own[:, 1:]).sum(1)
        sizes.append(drift > DISAGREEMENT * own[:, 0])
    return torch.logical_and(*sizes)


def deepest(
    grams: Grams, left: Tensor, right: Tensor, apart: Tensor, tolerance: float
) -> Found:
    """Return the end of the descent from the given deviations or, for layers that are
    ``apart``, the best end of descents from single components too."""
    import torch

    found = descend(grams, left, right, tolerance, MAX_STEPS)
    if not apart.any():
        return found
    order = grams.weights.abs().amax(0).argsort(descending=True, stable=True)
    trials = []
    for place in (order[:NUM_STARTS] + 1).tolist():
        alone = torch.zeros_like(left)
        alone[:, place] = 1.0  # B_i and A_i
        trials.append(descend(grams, alone, alone, tolerance, NUM_TRIAL_STEPS))
    errors = torch.stack([trial.squared_error for trial in trials])
    rows = torch.arange(len(left))
    for places in errors.argsort(dim=0, stable=True)[:NUM_KEPT]:
        left, right = (
            torch.stack([trial[side] for trial in trials])[places, rows]
            for side in (0, 1)
        )
        end = descend(grams, left, right, tolerance, MAX_STEPS)
        is_better = apart & (end.squared_error < found.squared_error)
        found = _chosen(is_better, end, found)
    return found


def descend(
    grams: Grams, left: Tensor, right: Tensor, tolerance: float, max_steps: int
) -> Found:
    """Return where damped Newton steps in both sides at once lead; never worse."""
    import torch

    num_blocks = left.shape[1]
    damping = torch.full((len(left),), FIRST_DAMPING, dtype=torch.float64)
    now = Found(left, right, grams.squared_norm(residual(grams, left, right)), damping)
    active = now.squared_error > 0  # also leaves out nan
    for _ in range(max_steps):
        if not active.any():
            break
        step = _damped_step(*_quadratic(grams, now.left, now.right), damping)
        moved = now.left + step[:, :num_blocks], now.right + step[:, num_blocks:]
        error = grams.squared_norm(residual(grams, *moved))
        is_better = active & (error < now.squared_error)
        gain = now.squared_error - error
        is_last = is_better & (gain <= tolerance * error) & (damping <= FIRST_DAMPING)
        now = _chosen(is_better, Found(*moved, error, damping), now)
        damping = torch.where(is_better, damping / 4, damping * 4)
        active = active & ~is_last & (damping < MOST_DAMPING)
        damping = damping.clamp(min=LEAST_DAMPING)
    return now._replace(has_converged=~active)


def _damped_step(bend: Tensor, slope: Tensor, damping: Tensor) -> Tensor:
    """Return the step [L, 2V] in units of each block's own size, as the alternating
    steps are."""
    import torch

    size = bend.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt()
    size = size.masked_fill(size == 0, 1.0)
    scaled = bend / (size[:, :, None] * size[:, None, :])
    eye = torch.eye(slope.shape[1], dtype=torch.float64)
    damped = scaled + damping[:, None, None] * eye
    step: Tensor = torch.linalg.solve_ex(damped, slope / size).result
    return step / size


def _chosen(is_first: Tensor, first: Found, second: Found) -> Found:
    import torch

    rows = is_first[:, None]
    return Found(
        torch.where(rows, first.left, second.left),
        torch.where(rows, first.right, second.right),
        torch.where(is_first, first.squared_error, second.squared_error),
        torch.where(is_first, first.has_converged, second.has_converged),
    )


def _quadratic(grams: Grams, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Return half the Hessian [L, 2V, 2V] of the squared error in ``(u, v)``, and half
    its descent [L, 2V]."""
    import torch

    along_b, along_a = full(left), full(right)
    products_b = (along_b[:, None, None, :] @ grams.left).squeeze(2)  # X_i^T Bhat
    products_a = (along_a[:, None, None, :] @ grams.right).squeeze(2)  # Y_j Ahat^T
    square_b = (along_b[:, None, :] @ products_b).transpose(1, 2)  # [L, rr, 1]
    square_a = (along_a[:, None, :] @ products_a).transpose(1, 2)
    shape = grams.left.shape[:3]
    bend_b = (grams.left.flatten(1, 2) @ square_a).view(shape)
    bend_a = (grams.right.flatten(1, 2) @ square_b).view(shape)
    missing = residual(grams, left, right)
    half = torch.einsum("lkm,lkic->limc", missing, grams.left)
    inner = torch.einsum("limc,lmjc->lij", half, grams.right)  # <residual, X_i Y_j>
    rank = round(grams.left.shape[3] ** 0.5)
    turned = products_a.view(*shape[:2], rank, rank).transpose(2, 3).flatten(2)
    cross = products_b @ turned.transpose(1, 2) - inner
    bend = torch.cat(
        [torch.cat([bend_b, cross], 2), torch.cat([cross.transpose(1, 2), bend_a], 2)],
        1,
    )
    slope = torch.cat(
        [
            (inner @ along_a[:, :, None]).squeeze(2),
            (inner.transpose(1, 2) @ along_b[:, :, None]).squeeze(2),
        ],
        1,
    )
    return bend, slope
