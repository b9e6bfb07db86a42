"""How far the server moves the global adapter towards a merge (Reddi et al., arXiv
2003.00295).

The pseudo-gradient is the merged adapter minus the previous one. Moments are valid in
one gauge of the factors, so methods that choose a new gauge refuse a server optimiser:
``contract.cannot["server-optimiser"]``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from pydantic import Field

from fl.record import Record

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Running means of the pseudo-gradient and of its square; none before a step."""

    first: Tensor | None = None
    second: Tensor | None = None


class ServerOptimiser(Protocol):
    """Computes the next global adapter from a merge."""

    @property
    def kind(self) -> str:
        """Return the name that scenarios use."""

    def step(
        self, before: Tensor, merged: Tensor, moments: Moments
    ) -> tuple[Tensor, Moments]:
        """Return the next flat adapter and the next moments; inputs are not changed."""


class PlainServer(Record):
    """Add ``learning_rate`` times the pseudo-gradient; 1 takes the merge as it is."""

    kind: Literal["plain"] = "plain"
    learning_rate: float = Field(default=1.0, gt=0, allow_inf_nan=False)

    def step(
        self, before: Tensor, merged: Tensor, moments: Moments
    ) -> tuple[Tensor, Moments]:
        if self.learning_rate == 1:
            return merged, moments
        return before + self.learning_rate * (merged - before), moments


class MomentumServer(Record):
    """Heavy ball on the pseudo-gradient (FedAvgM, Hsu et al., arXiv 1909.06335)."""

    kind: Literal["momentum"] = "momentum"
    learning_rate: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    momentum: float = Field(default=0.9, ge=0, lt=1)

    def step(
        self, before: Tensor, merged: Tensor, moments: Moments
    ) -> tuple[Tensor, Moments]:
        change = merged - before
        first = (
            change if moments.first is None else self.momentum * moments.first + change
        )
        return before + self.learning_rate * first, Moments(first)


class AdamServer(Record):
    """Adam on the pseudo-gradient (FedAdam, Reddi et al., arXiv 2003.00295), without
    bias correction; ``epsilon`` is the paper's tau."""

    kind: Literal["adam"] = "adam"
    learning_rate: float = Field(default=0.01, gt=0, allow_inf_nan=False)
    beta_1: float = Field(default=0.9, ge=0, lt=1)
    beta_2: float = Field(default=0.99, ge=0, lt=1)
    epsilon: float = Field(default=1e-3, gt=0, allow_inf_nan=False)

    def step(
        self, before: Tensor, merged: Tensor, moments: Moments
    ) -> tuple[Tensor, Moments]:
        import torch

        change = merged - before
        first, second = moments.first, moments.second
        if first is None or second is None:
            first = torch.zeros_like(change)
            second = torch.full_like(change, self.epsilon**2)
        first = self.beta_1 * first + (1 - self.beta_1) * change
        second = self.beta_2 * second + (1 - self.beta_2) * change**2
        step = first / (second.sqrt() + self.epsilon)
        return before + self.learning_rate * step, Moments(first, second)


SERVER_OPTIMISERS: dict[str, type[ServerOptimiser]] = {
    "adam": AdamServer,
    "momentum": MomentumServer,
    "plain": PlainServer,
}
