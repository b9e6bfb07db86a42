"""The policy that measures its constants in pilots, plans, and plans again."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Final, Literal

import numpy as np
from pydantic import Field, model_validator

from netsim.core.streams import stream
from netsim.errors import InputError
from netsim.policy.baselines import weight_floors
from netsim.policy.pilots import (
    Findings,
    Update,
    same_scale,
    study_trials,
)
from netsim.policy.planner import Decision, Planner
from netsim.policy.sampler import Coins, FloatArray
from netsim.policy.surrogate import Surrogate
from netsim.scenario import Record
from netsim.scenario.traits import Trait, Traits
from netsim.server.outcome import Samplers
from netsim.server.policies.piloting import Notebook, Pilot, Piloted, run_pilots
from netsim.server.policies.policy import Constants
from netsim.server.rules import PolicyRules
from netsim.server.stage import Stage

FULL_ROUNDS: Final = 100.0  # of full participation at full rank, if unknown


class AdaptivePolicy(Record):
    """Plans probabilities, ranks or both for the least time, from pilots or constants.

    After pilots no rank is below those that were tried with success. Every
    ``resolve_every`` rounds (0: never) it estimates the norms from all changes so far
    and plans again. The run starts from the first version, or with ``keeps_model`` from
    where the last pilot ended; ``step`` multiplies merge weights.
    """

    kind: Literal["adaptive"] = "adaptive"
    decides: tuple[Literal["sampling", "ranks"], ...] = ("sampling", "ranks")
    max_weight: Annotated[float, Field(gt=0)] | None = None
    pilots: tuple[Pilot, ...] = ()
    constants: Constants | None = None
    resolve_every: int = Field(default=0, ge=0)
    keeps_model: bool = False
    charges_pilots: bool = True
    step: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _check_constants(self) -> AdaptivePolicy:
        if not self.decides or len(set(self.decides)) < len(self.decides):
            raise ValueError("decides must name sampling, ranks or both, each once")
        if not self.pilots and (self.keeps_model or not self.charges_pilots):
            raise ValueError("keeps_model and charges_pilots need pilots")
        self._check_ratio()
        self._check_nu()
        return self

    @property
    def traits(self) -> Traits:
        samples = "sampling" in self.decides
        draws: Trait = "decides-sampling" if samples else "keeps-sampling"
        found: dict[Trait, str] = {draws: ""}
        if self.decides_ranks:
            found |= {"decides-ranks": "", "needs-learning": ""}
        if self.pilots:
            found |= {"runs-pilots": "pilots", "needs-learning": ""}
        return found

    @property
    def decides_ranks(self) -> bool:
        """Return whether it chooses each client's rank."""
        return "ranks" in self.decides

    @property
    def rules(self) -> PolicyRules:
        return PolicyRules(pilots=self.pilots, keeps_model=self.keeps_model)

    def require_files(self, num_clients: int) -> None:
        return None

    def require(self, planner: Planner) -> None:
        """Raise ``InputError`` where a pilot's rank is none of the adapter's."""
        full_rank = planner.problem.global_rank
        for pilot in self.pilots:
            if pilot.client_rank is not None and pilot.client_rank >= full_rank:
                raise InputError(
                    "policy.pilots: a rank must be below the adapter's, "
                    f"{full_rank}, got {pilot.client_rank}; leave it out for all of it"
                )
        if self.pilots:
            self._require_two_variances(planner.problem.data_weights.astype(float))

    def samplers(self, stage: Stage, planner: Planner) -> Samplers:
        if not self.pilots:
            basis = self._assumed(planner)
            decision = self._decide(stage, basis)
            stage.begin(decision.probabilities.tolist())
        else:
            piloted = yield from run_pilots(
                stage,
                planner,
                self.pilots,
                max_weight=self.max_weight,
                decides_ranks=self.decides_ranks,
            )
            basis = self._measured(stage, planner, piloted)
            decision = self._decide(stage, basis)
            first = stage.scene.learner.initial_version
            stage.train_after_pilots(stage.version if self.keeps_model else first)
            stage.write_plan(decision.probabilities.tolist())
        updates = list(basis.updates)
        for number in itertools.count(1):
            outcome = yield Coins(decision.probabilities, self.step)
            updates += outcome.updates(stage.scene.learner.rank)
            if self.resolve_every and number % self.resolve_every == 0:
                basis = _renewed(stage, basis, updates)
                decision = self._decide(stage, basis)
                stage.write_plan(decision.probabilities.tolist())

    def _assumed(self, planner: Planner) -> Basis:
        """Return the basis of given constants: 100 rounds at full participation."""
        constants = self.constants
        assert constants is not None
        assert constants.ratio is not None
        weights = planner.problem.data_weights
        full = float(np.sum(weights**2))
        if not constants.ratio > -full:
            raise InputError(
                f"policy.constants.ratio must exceed {-full:.4g}, or full "
                f"participation would take no rounds; got {constants.ratio!r}"
            )
        alpha = FULL_ROUNDS / (constants.ratio + full)
        nu = 1.0 if constants.nu is None else constants.nu
        law = Surrogate(alpha=alpha, beta=alpha * constants.ratio, nu=nu)
        return Basis(planner, np.ones(len(weights)), law, (), None)

    def _measured(
        self, stage: Stage, planner: Planner, piloted: Sequence[Piloted]
    ) -> Basis:
        """Return the basis that the pilots give, and write down all of it."""
        target = stage.stop.target
        weights = planner.problem.data_weights.astype(float)
        trials = [pilot.trial for pilot in piloted]
        is_loss = target is not None and target.metric == "loss"
        found = study_trials(
            trials,
            weights,
            planner.top_ratio(),
            nu=None if self.constants is None else self.constants.nu,
            target=target.level if target is not None and is_loss else None,
            measure=stage.measure,
        )
        _note_findings(stage, piloted, found)
        planner = planner.up_to(found.deepest_ratio)
        if not found.surrogate.alpha > 0:
            # the number of rounds does not depend on q, so only their length counts;
            # this holds for the weights that were tried and no others
            tried = max(float(np.max(weights / t.probabilities)) for t in trials)
            planner = planner.cautious(tried)
            stage.scene.mark(
                "fallback", detail=f"q does not matter up to weight {tried:.4g}"
            )
        updates = tuple(update for trial in trials for update in trial.updates)
        return Basis(
            planner, found.norms2.values, found.surrogate, updates, found.level
        )

    def _decide(self, stage: Stage, basis: Basis) -> Decision:
        """Put the plan of a basis in force and write its prediction."""
        round_id = stage.last_round_id + 1
        rng = stream(stage.scene.seed, "policy", round_id)
        decision = basis.planner.decide(basis.norms2, basis.surrogate, rng)
        if self.decides_ranks:
            stage.participants.client_ranks = decision.ranks
        _note_decision(stage, basis, decision)
        return decision

    def _require_two_variances(self, weights: FloatArray) -> None:
        """Raise ``InputError`` if ``max_weight`` makes all full pilots alike."""
        floors = weight_floors(weights, self.max_weight)
        full = [p.probability for p in self.pilots if p.client_rank is None]
        if (np.maximum(min(full), floors) == np.maximum(max(full), floors)).all():
            raise InputError(
                f"policy.max_weight: {self.max_weight!r} lifts all clients to one "
                "probability in all pilots at full rank, which then do not show what "
                "sampling changes; raise it, or the highest probability"
            )

    def _check_ratio(self) -> None:
        is_given = self.constants is not None and self.constants.ratio is not None
        if is_given and self.pilots:
            raise ValueError(
                "give pilots or constants.ratio, not both: no pilot runs where the "
                "ratio is given"
            )
        if is_given:
            return
        full = [p.probability for p in self.pilots if p.client_rank is None]
        if len(set(full)) < 2:
            raise ValueError(
                "needs pilots with two different probabilities (at no rank of their "
                "own), or constants.ratio"
            )

    def _check_nu(self) -> None:
        is_given = self.constants is not None and self.constants.nu is not None
        is_measured = any(pilot.client_rank is not None for pilot in self.pilots)
        if not self.decides_ranks and (is_given or is_measured):
            raise ValueError(
                "nu and pilots with a rank are of use only where `decides` names ranks"
            )
        if self.decides_ranks and is_given == is_measured:
            raise ValueError(
                "to decide ranks, give constants.nu or a pilot with a rank below the "
                "adapter's, which measures nu; one of the two"
            )


@dataclass(frozen=True, slots=True)
class Basis:
    """What a plan is made from; ``level`` is the loss that its rounds lead to."""

    planner: Planner
    norms2: FloatArray
    surrogate: Surrogate
    updates: tuple[Update, ...]
    level: float | None


def _renewed(stage: Stage, basis: Basis, updates: Sequence[Update]) -> Basis:
    """Return the basis with norms from all changes so far, early and late ones on one
    scale, the one it had."""
    if not updates:
        return basis
    weights = basis.planner.problem.data_weights.astype(float)
    norms2 = stage.measure(
        updates, len(weights), otherwise=basis.surrogate.nu, has_trend=True
    ).norms2
    Notebook(stage).write_clients("norm2", norms2.values, norms2.errors)
    return replace(basis, norms2=same_scale(norms2.values, basis.norms2, weights))


def _note_findings(stage: Stage, piloted: Sequence[Piloted], found: Findings) -> None:
    book, law = Notebook(stage), found.surrogate
    for pilot, crossing, variance in zip(
        piloted, found.crossings, found.variances, strict=True
    ):
        book.write("pilot_variance", variance, round_id=pilot.round_id)
        if crossing is not None:
            rounds, error = crossing
            book.write("pilot_rounds", rounds, error, round_id=pilot.round_id)
        else:
            ratio = float(pilot.trial.rank_ratio.min())
            stage.scene.mark("floor", detail=f"loss out of reach at r/k {ratio:g}")
    book.write_clients("norm2", found.norms2.values, found.norms2.errors)
    book.write("level", found.level)
    if np.isfinite(found.norm_exponent.nu):
        book.write("norm_exponent", *found.norm_exponent)
    book.write("alpha", law.alpha, law.alpha_error)
    book.write("beta", law.beta, law.beta_error)
    book.write("nu", law.nu, found.nu_error)
    if law.alpha > 0:
        book.write("ratio", law.beta / law.alpha, law.ratio_error)


def _note_decision(stage: Stage, basis: Basis, decision: Decision) -> None:
    book, round_s, rounds = Notebook(stage), decision.round_s, decision.rounds
    error = basis.surrogate.rounds_error(decision.variance)
    spread_s = float(np.hypot(round_s.mean_s * error, rounds * round_s.error_s))
    book.write("plan_variance", decision.variance)
    book.write("plan_round_s", round_s.mean_s, round_s.error_s)
    book.write("plan_rounds", rounds, error)
    book.write("plan_time_s", decision.total_s, spread_s)
    num_expected = float(decision.probabilities.sum())
    stage.scene.mark(
        "plan",
        round_id=stage.last_round_id + 1,
        detail=f"{num_expected:.4g} clients expected, {rounds:.4g} rounds of "
        f"{round_s.mean_s:.4g} s predicted",
    )
    if not stage.predicted:
        level = {} if basis.level is None else {"loss": basis.level}
        errors = {"round_error_s": round_s.error_s, "time_error_s": spread_s}
        stage.predicted = {
            "rounds": rounds,
            "round_s": round_s.mean_s,
            "time_s": decision.total_s,
            **{name: one for name, one in errors.items() if np.isfinite(one)},
            **level,
        }
