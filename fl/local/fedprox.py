"""FedProx (Li et al., "Federated optimization in heterogeneous networks", arXiv
1812.06127): clients stay near what they were sent."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from fl.local.strategy import PLAIN, Cohort, Demands
from fl.record import Record


class FedProx(Record):
    """Adds ``mu / 2`` times the squared distance from the version received to the loss;
    of LoRA the distance of the factors."""

    demands: ClassVar[Demands] = PLAIN
    kind: Literal["fedprox"] = "fedprox"
    mu: float = Field(default=0.01, ge=0, allow_inf_nan=False)

    def train(self, cohort: Cohort) -> None:
        start = cohort.values.clone()
        for step in cohort.steps():
            distance = step.values - start[: len(step.values)]
            step.descend(step.gradients().add_(distance, alpha=self.mu))
