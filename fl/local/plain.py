"""Mini-batch gradients and an optimiser, nothing else: what FedAvg's clients do."""

from __future__ import annotations

from typing import ClassVar, Literal

from fl.local.strategy import PLAIN, Cohort, Demands
from fl.record import Record


class Plain(Record):
    """Steps of the optimiser on the loss of mini-batches."""

    demands: ClassVar[Demands] = PLAIN
    kind: Literal["plain"] = "plain"

    def train(self, cohort: Cohort) -> None:
        descend(cohort)


def descend(cohort: Cohort) -> None:
    """Take all steps on the gradients as they are."""
    for step in cohort.steps():
        step.descend(step.gradients())
