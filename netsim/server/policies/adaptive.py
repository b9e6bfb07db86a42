"""The policy that plans who takes part at which rank, and plans again as it learns."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Annotated, Final, Literal

import numpy as np
from pydantic import Field, model_validator

from netsim.core.streams import stream
from netsim.errors import InputError
from netsim.policy import Sampler
from netsim.policy.baselines import weight_floors
from netsim.policy.noise_scale import PRIOR_RATIO
from netsim.policy.pilots import study_trials
from netsim.policy.planner import Decision, Planner
from netsim.policy.sampler import Coins, FloatArray
from netsim.scenario import Record
from netsim.scenario.traits import Trait, Traits
from netsim.server.outcome import Outcome, Samplers
from netsim.server.policies.basis import (
    Basis,
    assumed_law,
    note_decision,
    note_findings,
    note_forecast,
    noted_step,
    with_exponent,
    with_norms,
    with_ratio,
)
from netsim.server.policies.exploration import Exploration
from netsim.server.policies.observed import Observed
from netsim.server.policies.piloting import Pilot, Piloted, run_pilots
from netsim.server.policies.policy import Constants
from netsim.server.rules import PolicyRules
from netsim.server.stage import Stage

RESOLVE_EVERY: Final = 3  # rounds, where they tell the constants


class AdaptivePolicy(Record):
    """Plans probabilities, ranks or both for the least time to the target.

    Its constants come from the rounds that train, from pilots, or are given. Every
    ``resolve_every`` rounds (0: never; by default 3 where rounds tell the constants) it
    plans again. No rank is below those that were tried with success. After pilots the
    run starts from the first version, or with ``keeps_model`` from where the last pilot
    ended; ``step`` multiplies merge weights. With ``tuned_at``, the probability for all
    at which the learning rate was chosen, it follows each plan by the noise scale.
    """

    kind: Literal["adaptive"] = "adaptive"
    decides: tuple[Literal["sampling", "ranks"], ...] = ("sampling", "ranks")
    max_weight: Annotated[float, Field(gt=0)] | None = None
    pilots: tuple[Pilot, ...] = ()
    constants: Constants | None = None
    resolve_every: Annotated[int, Field(ge=0)] | None = None
    keeps_model: bool = False
    charges_pilots: bool = True
    step: float = Field(default=1.0, gt=0)
    tuned_at: Annotated[float, Field(gt=0, le=1)] | None = None

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
        if self._measures_ratio:
            found |= {"needs-learning": ""}
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
        exploration = Exploration.of(planner) if self._measures_nu else None
        if self.pilots:
            basis = yield from self._after_pilots(stage, planner)
        else:
            basis = self._assumed(planner)
        decision = self._decide(stage, basis)
        self._start(stage, exploration, decision)
        seen = Observed(
            data_weights=planner.problem.data_weights.astype(float),
            full_rank=stage.scene.learner.rank,
            updates=list(basis.updates),
        )
        coins = self._coins(stage, basis, decision)
        for number in itertools.count(1):
            outcome = yield coins
            seen.note(outcome, coins, stage.last_round_id)
            seen.note_progress(decision.variance, outcome.scores, stage.stop.target)
            is_due = self._interval and number % self._interval == 0
            if is_due:
                basis, is_certain = self._renewed(stage, planner, basis, seen)
                if is_certain:
                    decision = self._decide(stage, basis, decision)
                    coins = self._coins(stage, basis, decision)
                if self._measures_ratio:
                    note_forecast(stage, basis, decision, seen)
            if _explore(stage, exploration, number + 1) or is_due:
                stage.write_plan(decision.probabilities.tolist())

    def _start(
        self, stage: Stage, exploration: Exploration | None, decision: Decision
    ) -> None:
        """Put the first plan in force."""
        if not self.pilots:
            _explore(stage, exploration, 1)
            stage.begin(decision.probabilities.tolist())
            return
        first = stage.scene.learner.initial_version
        stage.train_after_pilots(stage.version if self.keeps_model else first)
        stage.write_plan(decision.probabilities.tolist())

    def _coins(self, stage: Stage, basis: Basis, decision: Decision) -> Coins:
        """Return the draws of a plan, with the server's step under it."""
        if self.tuned_at is None:
            return Coins(decision.probabilities, self.step)
        factor = noted_step(stage, basis, decision, self.tuned_at)
        return Coins(decision.probabilities, self.step * factor)

    @property
    def _measures_ratio(self) -> bool:
        """Return whether rounds that train tell the ratio."""
        is_given = self.constants is not None and self.constants.ratio is not None
        return not self.pilots and not is_given

    @property
    def _measures_nu(self) -> bool:
        """Return whether rounds of mixed ranks tell the exponent of ranks."""
        is_given = self.constants is not None and self.constants.nu is not None
        return self.decides_ranks and not self.pilots and not is_given

    @property
    def _interval(self) -> int:
        """Return after how many rounds it plans again; zero: never."""
        if self.resolve_every is not None:
            return self.resolve_every
        return RESOLVE_EVERY if self._measures_ratio or self._measures_nu else 0

    def _assumed(self, planner: Planner) -> Basis:
        """Return the basis of given constants, or of those to begin with."""
        constants = self.constants or Constants()
        weights = planner.problem.data_weights.astype(float)
        ratio = PRIOR_RATIO if constants.ratio is None else constants.ratio
        nu = 1.0 if constants.nu is None else constants.nu
        law = assumed_law(weights, ratio, nu)
        if self._measures_nu:
            planner = planner.at_top_ranks()
        return Basis(planner, np.ones(len(weights)), law, (), None)

    def _renewed(
        self, stage: Stage, planner: Planner, basis: Basis, seen: Observed
    ) -> tuple[Basis, bool]:
        """Return the basis that all rounds so far give, and whether it is certain
        enough for a new plan: the error of the ratio must be below it."""
        basis, is_certain = with_norms(stage, basis, seen.updates), True
        if self._measures_nu:
            basis = with_exponent(stage, planner, basis, seen)
        if self._measures_ratio:
            basis, is_certain = with_ratio(stage, basis, seen)
        return basis, is_certain

    def _after_pilots(
        self, stage: Stage, planner: Planner
    ) -> Generator[Sampler, Outcome, Basis]:
        """Run the pilots, and return the basis that they give."""
        piloted = yield from run_pilots(
            stage,
            planner,
            self.pilots,
            max_weight=self.max_weight,
            decides_ranks=self.decides_ranks,
        )
        return self._measured(stage, planner, piloted)

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
            measure=stage.measuring.norms,
        )
        note_findings(stage, piloted, found)
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

    def _decide(
        self, stage: Stage, basis: Basis, before: Decision | None = None
    ) -> Decision:
        """Put the plan of a basis in force and write its prediction; where rounds tell
        the ratio it does not go far from the plan before."""
        rng = stream(stage.scene.seed, "policy", stage.last_round_id + 1)
        planner = basis.planner
        decision = planner.decide(basis.norms2, basis.surrogate, rng)
        if self._measures_ratio and before is not None:
            near = planner.near(decision, before.probabilities)
            if (near != decision.probabilities).any():
                planner = replace(planner, given=near)
                decision = planner.decide(basis.norms2, basis.surrogate, rng)
        if self.decides_ranks:
            stage.participants.client_ranks = decision.ranks
        note_decision(stage, basis, decision)
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
        full = [p.probability for p in self.pilots if p.client_rank is None]
        if self.pilots and len(set(full)) < 2:
            raise ValueError(
                "needs pilots with two different probabilities (at no rank of their "
                "own); without pilots the rounds that train tell the ratio"
            )

    def _check_nu(self) -> None:
        is_given = self.constants is not None and self.constants.nu is not None
        is_measured = any(pilot.client_rank is not None for pilot in self.pilots)
        if not self.decides_ranks and (is_given or is_measured):
            raise ValueError(
                "nu and pilots with a rank are of use only where `decides` names ranks"
            )
        if self.decides_ranks and self.pilots and is_given == is_measured:
            raise ValueError(
                "to decide ranks after pilots, give constants.nu or a pilot with a "
                "rank below the adapter's, which measures nu; one of the two"
            )


def _explore(stage: Stage, exploration: Exploration | None, number: int) -> bool:
    """Give clients the ranks that the next round tries; return whether it tries any."""
    if exploration is None or not exploration.is_due(number):
        return False
    ranks = exploration.ranks(stage.scene.seed, stage.last_round_id + 1)
    stage.participants.client_ranks = ranks
    return True
