"""A plan made within a run: probabilities and ranks, or one of them given the other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from netsim.errors import InputError
from netsim.policy.problem import Choice, Problem, at_top_rank, value
from netsim.policy.round_time import Estimate, require_round_times
from netsim.policy.sampler import FloatArray
from netsim.policy.solver import Score, score, solve
from netsim.policy.surrogate import Surrogate

NUM_ROUNDS: Final = 256  # of Monte Carlo
NUM_PRICES: Final = 5  # lambda <- R / T so often, for ranks at given probabilities


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Who takes part how often and at which rank, and what it is expected to cost."""

    probabilities: FloatArray
    ranks: tuple[int, ...]
    round_s: Estimate
    rounds: float
    variance: float

    @property
    def total_s(self) -> float:
        """Return the expected time to the level that the rounds belong to."""
        return self.round_s.mean_s * self.rounds


@dataclass(frozen=True, kw_only=True)
class Planner:
    """A fleet's problem, with only the ranks that are open, under a sharing rule.

    ``given`` are the probabilities where they are not the plan's to choose.
    """

    problem: Problem
    sharing: str
    given: FloatArray | None = None

    def top_ranks(self) -> npt.NDArray[np.int64]:
        """Return the highest rank that each client may have."""
        place = at_top_rank(self.problem).is_allowed.argmax(axis=1)
        ranks: npt.NDArray[np.int64] = np.asarray(self.problem.ranks)[place]
        return ranks

    def top_ratio(self) -> FloatArray:
        """Return the least ``r / k`` of each client."""
        return np.asarray(self.problem.global_rank / self.top_ranks())

    def seconds(self) -> tuple[FloatArray, FloatArray]:
        """Return what each client computes for, and its upload on the whole band, at
        its highest rank."""
        top = at_top_rank(self.problem).is_allowed.argmax(axis=1).astype(np.int8)
        ones = np.ones(len(self.problem))
        load = Choice(probabilities=ones, rank_index=top).load(self.problem)
        return load.compute_s, load.need_hz_s / self.problem.band_hz

    def up_to(self, deepest_ratio: float) -> Planner:
        """Return the planner without sketches of a greater ``r / k``, save what a
        client could not do without."""
        is_deep = self.problem.rank_ratios() > deepest_ratio
        top = at_top_rank(self.problem).is_allowed
        is_allowed = (self.problem.is_allowed & ~is_deep) | top
        return replace(self, problem=replace(self.problem, is_allowed=is_allowed))

    def at_top_ranks(self) -> Planner:
        """Return the planner with only the highest rank of each client."""
        return replace(self, problem=at_top_rank(self.problem))

    def near(self, decision: Decision, before: FloatArray) -> FloatArray:
        """Return the decided probabilities, each at most twice and at least half of
        what it was before."""
        if self.given is not None:
            return decision.probabilities
        return np.asarray(
            np.clip(decision.probabilities, before / 2, np.minimum(before * 2, 1.0))
        )

    def cautious(self, largest_weight: float) -> Planner:
        """Return the planner for pilots that show no effect of variance: the highest
        ranks, and no weight ``a_n / q_n`` above those that were tried."""
        problem = at_top_rank(self.problem)
        limit = min(problem.max_weight, largest_weight)
        return replace(self, problem=replace(problem, max_weight=limit))

    def decide(
        self, norms2: FloatArray, surrogate: Surrogate, rng: np.random.Generator
    ) -> Decision:
        """Return the plan of least expected time for these constants."""
        try:
            require_round_times(self.sharing)
        except InputError as error:
            raise InputError(f"policy: {error}") from error
        problem = replace(self.problem, norms2=norms2)
        choice, scored = self._best(problem, surrogate, rng)
        return Decision(
            probabilities=choice.probabilities.astype(float),
            ranks=tuple(np.asarray(problem.ranks)[choice.rank_index].tolist()),
            round_s=scored.round_s,
            rounds=scored.rounds,
            variance=choice.variance(problem, surrogate.nu),
        )

    def _best(
        self, problem: Problem, surrogate: Surrogate, rng: np.random.Generator
    ) -> tuple[Choice, Score]:
        sharing = self.sharing
        if self.given is None:
            found = solve(
                problem, surrogate, sharing=sharing, rng=rng, num_rounds=NUM_ROUNDS
            )
            return found.choice, found.score
        choice = best_ranks(problem, surrogate, self.given)
        (scored,) = score(
            problem,
            surrogate,
            [choice],
            sharing=sharing,
            rng=rng,
            num_rounds=NUM_ROUNDS,
        )
        return choice, scored


def best_ranks(problem: Problem, surrogate: Surrogate, q: FloatArray) -> Choice:
    """Return the ranks of least ``alpha c / q + lambda q w`` at given probabilities,
    ``lambda = R / T`` of the last ranks in turn, from the highest."""
    top = at_top_rank(problem).is_allowed.argmax(axis=1).astype(np.int8)
    best = Choice(probabilities=q, rank_index=top)
    least = now = value(best, problem, surrogate)
    ratios = problem.rank_ratios() ** surrogate.nu
    gain = surrogate.alpha * np.outer(problem.moments / q, ratios)
    need_s = problem.need_hz_s / problem.band_hz
    for _ in range(NUM_PRICES):
        over_s = np.maximum(problem.compute_s - now.threshold_s, 0.0)
        cost = gain + now.rounds / now.round_s * q[:, None] * (over_s + need_s)
        index = np.where(problem.is_allowed, cost, np.inf).argmin(axis=1)
        choice = Choice(probabilities=q, rank_index=index.astype(np.int8))
        now = value(choice, problem, surrogate)
        if now.total_s < least.total_s:
            best, least = choice, now
    return best
