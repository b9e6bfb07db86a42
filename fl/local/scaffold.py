"""SCAFFOLD (Karimireddy et al., "SCAFFOLD: stochastic controlled averaging for
federated learning", arXiv 1910.06378), algorithm 1 with option II."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from fl.local.strategy import Cohort, Demands
from fl.record import Record

if TYPE_CHECKING:
    from torch import Tensor

SMALLEST = 1e-30  # without a step there is no change to divide


def next_control(
    control: Tensor, sent: Sequence[Tensor], data_shares: Sequence[float]
) -> Tensor:
    """Return the server's control variate after these changes of the clients'."""
    changes = zip(data_shares, sent, strict=True)
    return control + sum(share * change for share, change in changes)


class Scaffold(Record):
    """Corrects each step by control variates, which travel both ways with the model.

    A client keeps ``c_i``, the server ``c``, the sum of all ``c_i`` by their parts of
    the data (the paper's has equal parts). Both are zero at first.
    """

    demands: ClassVar[Demands] = Demands(
        keeps=True,
        shares=next_control,
        optimisers=("sgd",),
        one_rank=True,
    )
    kind: Literal["scaffold"] = "scaffold"

    def train(self, cohort: Cohort) -> None:
        start = cohort.values.clone()
        correction = cohort.shared - cohort.kept
        for step in cohort.steps():
            step.descend(step.gradients().add_(correction[: len(step.values)]))
        kept = (start - cohort.values) / cohort.rates.clamp(min=SMALLEST) - correction
        cohort.sent = kept - cohort.kept
        cohort.kept = kept
