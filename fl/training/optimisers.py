"""Optimisers for many clients at once: one row of numbers per client.

Each row is updated as by ``torch.optim`` with its defaults for that client alone. Each
row has its own learning rate, since clients may be at different steps of a schedule.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from fl.settings.local_training import OptimiserName, ScheduleName

if TYPE_CHECKING:
    from torch import Tensor

MOMENTUM = 0.9
BETA1, BETA2 = 0.9, 0.999
EPSILON = 1e-8


class Optimiser(Protocol):
    """Updates rows of numbers from their gradients; has state."""

    def step(self, values: Tensor, gradients: Tensor, rates: Tensor) -> None:
        """Change ``values`` [clients, numbers] in place by ``rates`` [clients, 1].

        The rows are the first ones of the optimiser's matrix, since clients that are
        done leave from the end. ``gradients`` may be overwritten.
        """


class SGD:
    """``torch.optim.SGD``, with or without momentum."""

    def __init__(self, values: Tensor, *, momentum: float, weight_decay: float) -> None:
        self._momentum = momentum
        self._weight_decay = weight_decay
        self._velocity = values.new_zeros(values.shape) if momentum else None

    def step(self, values: Tensor, gradients: Tensor, rates: Tensor) -> None:
        if self._weight_decay:
            gradients.add_(values, alpha=self._weight_decay)
        if self._velocity is not None:
            velocity = self._velocity[: len(values)]
            gradients = velocity.mul_(self._momentum).add_(gradients)
        values.sub_(gradients * rates)


class AdamW:
    """``torch.optim.AdamW``: weight decay is decoupled from the gradients."""

    def __init__(self, values: Tensor, *, weight_decay: float) -> None:
        self._weight_decay = weight_decay
        self._first = values.new_zeros(values.shape)
        self._second = values.new_zeros(values.shape)
        self._num_steps = 0

    def step(self, values: Tensor, gradients: Tensor, rates: Tensor) -> None:
        self._num_steps += 1
        first = self._first[: len(values)]
        second = self._second[: len(values)]
        if self._weight_decay:
            values.mul_(1 - rates * self._weight_decay)
        first.lerp_(gradients, 1 - BETA1)
        second.mul_(BETA2).addcmul_(gradients, gradients, value=1 - BETA2)
        correction1 = 1 - BETA1**self._num_steps
        correction2 = 1 - BETA2**self._num_steps
        spread = second.sqrt().div_(math.sqrt(correction2)).add_(EPSILON)
        values.sub_(spread.reciprocal_().mul_(first).mul_(rates / correction1))


def optimiser_for(
    values: Tensor, name: OptimiserName, *, weight_decay: float
) -> Optimiser:
    """Return a new optimiser for these rows; each participation has its own."""
    if name == "adamw":
        return AdamW(values, weight_decay=weight_decay)
    momentum = MOMENTUM if name == "momentum" else 0.0
    return SGD(values, momentum=momentum, weight_decay=weight_decay)


def clip_rows(gradients: Tensor, max_norm: float) -> None:
    """Scale each row to at most this norm in place, as ``clip_grad_norm_`` does."""
    norms = gradients.norm(dim=1, keepdim=True)
    gradients.mul_((max_norm / (norms + 1e-6)).clamp_(max=1.0))


def rate_factor(
    schedule: ScheduleName, step: int, *, warmup_steps: int, num_steps: int
) -> float:
    """Return the factor of the learning rate at a step of one participation.

    As in ``transformers.get_scheduler``: steps count from zero, and with warm-up the
    first one has rate zero.
    """
    if schedule == "constant":
        return 1.0
    if step < warmup_steps:
        return step / warmup_steps
    if schedule == "constant_with_warmup":
        return 1.0
    progress = (step - warmup_steps) / max(1, num_steps - warmup_steps)
    if schedule == "linear":
        return max(0.0, 1.0 - progress)
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * progress)))
