"""Baseline policies: probabilities in proportion to one quantity."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from netsim.errors import InputError
from netsim.policy import Sampler
from netsim.policy.baselines import (
    scaled_probabilities,
    statistics_only,
    system_only,
    weight_floors,
    weighted_draws,
)
from netsim.policy.pilots import Update
from netsim.policy.planner import Planner
from netsim.policy.sampler import Coins, FloatArray
from netsim.policy.weighted import WeightedSampling
from netsim.scenario import Record
from netsim.scenario.traits import Traits
from netsim.server.outcome import Samplers
from netsim.server.policies.piloting import Notebook, Pilot, run_pilots
from netsim.server.rules import PolicyRules
from netsim.server.stage import Stage

MEASURED = ("statistics", "statistics-per-time")


class ProportionalPolicy(Record):
    """Draws ``num_expected`` clients in proportion to a quantity, weighted unbiasedly.

    ``to: system`` is ``1 / (tau_n + t_n)``, ``statistics`` is ``a_n G_n``, and
    ``statistics-per-time`` is ``a_n G_n / sqrt(t_n)``, in draws with replacement
    (arXiv 2112.11256); ``G_n`` comes from pilots, which those two need.
    """

    constants: ClassVar[None] = None
    kind: Literal["proportional"] = "proportional"
    to: Literal["system", "statistics", "statistics-per-time"]
    num_expected: float = Field(gt=0)
    max_weight: Annotated[float, Field(gt=0)] | None = None
    pilots: tuple[Pilot, ...] = ()
    keeps_model: bool = False
    charges_pilots: bool = True

    @model_validator(mode="after")
    def _check_pilots(self) -> ProportionalPolicy:
        if (self.to in MEASURED) != bool(self.pilots):
            needs = "needs pilots" if self.to in MEASURED else "needs no pilots"
            raise ValueError(f"a policy in proportion to {self.to} {needs}")
        if not self.pilots and (self.keeps_model or not self.charges_pilots):
            raise ValueError("keeps_model and charges_pilots need pilots")
        if any(pilot.client_rank is not None for pilot in self.pilots):
            raise ValueError("its pilots have no rank: `ranks` sets the ranks")
        if self.to == "statistics-per-time":
            self._check_draws()
        return self

    @property
    def traits(self) -> Traits:
        pilots: Traits = {"runs-pilots": "pilots", "needs-learning": ""}
        return {"decides-sampling": "", **(pilots if self.pilots else {})}

    @property
    def rules(self) -> PolicyRules:
        return PolicyRules(pilots=self.pilots, keeps_model=self.keeps_model)

    def require_files(self, num_clients: int) -> None:
        return None

    def require(self, planner: Planner) -> None:
        """Raise ``InputError`` where ``num_expected`` is out of reach."""
        compute_s, upload_s = planner.seconds()
        if self.to == "system" and not (compute_s + upload_s > 0).all():
            raise InputError("policy.to: system needs work or uploads that take time")
        try:
            self._sampler(planner, np.ones(len(planner.problem)))
        except InputError as error:
            raise InputError(f"policy.num_expected: {error}") from error

    def samplers(self, stage: Stage, planner: Planner) -> Samplers:
        norms2 = None
        weights = stage.scene.population.data_weights
        if self.pilots:
            piloted = yield from run_pilots(
                stage, planner, self.pilots, max_weight=self.max_weight
            )
            updates = [update for pilot in piloted for update in pilot.trial.updates]
            norms2 = _measured(stage, updates)
            first = stage.scene.learner.initial_version
            stage.train_after_pilots(stage.version if self.keeps_model else first)
        sampler = self._sampler(
            planner, np.ones(len(weights)) if norms2 is None else norms2
        )
        probabilities = sampler.probabilities(weights).tolist()
        if norms2 is None:
            stage.begin(probabilities)
        else:
            stage.write_plan(probabilities)
        while True:
            yield sampler

    def _sampler(self, planner: Planner, norms2: FloatArray) -> Sampler:
        weights = planner.problem.data_weights.astype(float)
        compute_s, upload_s = planner.seconds()
        norms = np.sqrt(norms2)
        if self.to == "statistics-per-time":
            shares = weighted_draws(weights, norms, upload_s)
            return WeightedSampling(
                num_draws=int(self.num_expected), shares=tuple(shares.tolist())
            )
        scores = (
            system_only(compute_s, upload_s)
            if self.to == "system"
            else statistics_only(weights, norms)
        )
        floors = weight_floors(weights, self.max_weight)
        return Coins(scaled_probabilities(scores, self.num_expected, floors))

    def _check_draws(self) -> None:
        if self.num_expected != int(self.num_expected):
            raise ValueError(
                "num_expected is a whole number of draws with replacement, got "
                f"{self.num_expected!r}"
            )
        if self.max_weight is not None:
            raise ValueError("draws with replacement have no max_weight")


def _measured(stage: Stage, updates: list[Update]) -> FloatArray:
    """Return the norms at the ranks in force, and write them down."""
    num_clients = len(stage.scene.population)
    norms2 = stage.measuring.norms(updates, num_clients, otherwise=0.0).norms2
    Notebook(stage).write_clients("norm2", norms2.values, norms2.errors)
    return norms2.values
