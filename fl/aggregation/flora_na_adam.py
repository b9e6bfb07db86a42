"""FLoRA-NA by gradient steps: Adam on P and Q, as its paper has it (arXiv
2509.26399), over the Gram form of the same objective."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fl.aggregation.components import LayerComponents, MergedLayer
from fl.aggregation.gauge import Gauge
from fl.aggregation.grams import Grams, residual
from fl.aggregation.method import LORA, Contract, Exchange
from fl.aggregation.mixing import merge_mixed, mixing_contract
from fl.aggregation.newton import Found
from fl.record import Record

if TYPE_CHECKING:
    from torch import Tensor


class FloraNAAdam(Record):
    """Fit FLoRA-NA's scalars by Adam from the plain average, and keep the best of all
    iterates; never worse than the average. ``flora-na`` gets there sooner.

    Traffic: r (m + n) numbers each way.
    """

    kind: Literal["flora-na-adam"] = "flora-na-adam"
    num_steps: int = Field(default=300, ge=1)
    learning_rate: float = Field(default=0.01, gt=0, allow_inf_nan=False)
    gauge: Gauge = "scale-matched"

    @property
    def contract(self) -> Contract:
        return mixing_contract(self.gauge)

    def exchange(self, round_index: int) -> Exchange:
        return LORA

    def merge(self, layers: Mapping[str, LayerComponents]) -> dict[str, MergedLayer]:
        return merge_mixed(layers, self._descend, self.gauge)

    def _descend(self, grams: Grams, start: Tensor, norm: Tensor) -> Found:
        """Return the best deviations met; layers do not influence one another."""
        import torch

        active = start > 0  # also leaves out nan
        scale = torch.where(active, start, 1.0)
        steps = torch.zeros(2, *grams.weights.shape, dtype=torch.float64)
        steps.requires_grad_()
        optimiser = torch.optim.Adam([steps], lr=self.learning_rate)
        left, right = torch.zeros(2, *grams.left.shape[:2], dtype=torch.float64)
        best = start
        for _ in range(self.num_steps):
            moved = [deviation(grams.weights, step) for step in steps]
            error = grams.squared_norm(residual(grams, moved[0], moved[1]))
            is_best = active & (error.detach() < best)
            best = torch.where(is_best, error.detach(), best)
            left = torch.where(is_best[:, None], moved[0].detach(), left)
            right = torch.where(is_best[:, None], moved[1].detach(), right)
            optimiser.zero_grad()
            loss = torch.where(active, error / scale, 0.0).sum()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        return Found(left, right, best, torch.ones_like(active))


def deviation(weights: Tensor, step: Tensor) -> Tensor:
    """Return ``u`` [L, V] with ``X (e_0 + u) = sum (w_i + p_i) B_i`` for p [L, U]."""
    import torch

    total = step.sum(1, keepdim=True)
    return torch.cat([total, step - weights * total], dim=1)
