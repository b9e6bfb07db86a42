"""The plans that a joint plan is compared with, each tuned under the rule in force."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from netsim.policy.baselines import (
    scaled_probabilities,
    statistics_only,
    system_only,
    weighted_draws,
)
from netsim.policy.planner import best_ranks
from netsim.policy.problem import Array, Choice, Problem, value
from netsim.policy.sampler import FloatArray
from netsim.policy.solver import Score, score, solve
from netsim.policy.surrogate import Surrogate

Rng = Callable[[str], np.random.Generator]
FULL = "full participation"
UNIFORM = "uniform q"
FULL_RANK = "adaptive q, full k"
JOINT = "joint"
EQUAL_SHARING = "joint, equal sharing"
TIERS = (1.0, 0.5, 0.25)  # of the global rank, from the quickest third down
NUM_SWEPT = 16
TINY_S = 1e-15


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """A named plan under a sharing rule, and its Monte Carlo estimate."""

    name: str
    choice: Choice
    score: Score
    bound_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What is compared: the problem, the same at full rank, and how it is scored."""

    problem: Problem
    at_top: Problem
    surrogate: Surrogate
    sharing: str
    num_rounds: int
    rng: Rng

    def rivals(self) -> list[Rival]:
        """Return every plan that needs no pilots; the joint plan is among them."""
        always = np.ones(len(self.problem))
        plans = {FULL: self._swept([always])}
        for name, scores in self._scores().items():
            plans[name] = self._swept(self._sweep(scores))
        uniform = self._sweep(always)
        plans["uniform q, tiered k"] = self._best([self._tiered(q) for q in uniform])
        plans["uniform q, adaptive k"] = self._best(
            [best_ranks(self.problem, self.surrogate, q) for q in uniform]
        )
        plans[FULL_RANK] = self._solved(self.at_top, self.sharing)
        plans[JOINT] = self._solved(self.problem, self.sharing)
        found = self._scored(plans, self.sharing)
        equal = {EQUAL_SHARING: self._solved(self.problem, "equal-fixed")}
        return found + self._scored(equal, "equal-fixed")

    def _scores(self) -> dict[str, FloatArray]:
        problem = self.problem
        load = self._at_top(np.ones(len(problem))).load(problem)
        upload_s = np.maximum(load.need_hz_s / problem.band_hz, TINY_S)
        weights, norms = problem.data_weights.astype(float), problem.norms2**0.5
        return {
            UNIFORM: np.ones(len(problem)),
            "data-weighted": weights,
            "statistics-only": statistics_only(weights, norms.astype(float)),
            "system-only": system_only(load.compute_s, upload_s),
            "Luo weighted": weighted_draws(weights, norms.astype(float), upload_s),
        }

    def _tiered(self, q: FloatArray) -> Choice:
        """Return ranks by speed (arXiv 2501.19389): the quickest third has all of its
        rank, the next about half, the slowest about a quarter of the global one."""
        problem = self.problem
        top = self._at_top(q)
        slowness = np.argsort(np.argsort(top.load(problem).compute_s, kind="stable"))
        tier = slowness * len(TIERS) // len(problem)
        wanted = np.array(TIERS)[tier] * problem.global_rank
        distance = np.abs(np.asarray(problem.ranks) - wanted[:, None])
        index = np.where(problem.is_allowed, distance, np.inf).argmin(axis=1)
        return Choice(probabilities=q, rank_index=index.astype(np.int8))

    def _sweep(self, scores: FloatArray) -> list[FloatArray]:
        """Return probabilities for expected numbers from the least allowed to all."""
        floors = self.problem.floors.astype(float)
        low, high = max(float(floors.sum()) * 1.001, 0.5), float(len(floors))
        wanted = np.geomspace(min(low, high), high, NUM_SWEPT).tolist()
        return [scaled_probabilities(scores, min(k, high), floors) for k in wanted]

    def _at_top(self, probabilities: Array) -> Choice:
        index = self.at_top.is_allowed.argmax(axis=1).astype(np.int8)
        return Choice(probabilities=probabilities, rank_index=index)

    def _swept(self, plans: Sequence[FloatArray]) -> Choice:
        return self._best([self._at_top(q) for q in plans])

    def _best(self, choices: Sequence[Choice]) -> Choice:
        if len(choices) == 1:
            return choices[0]
        found = self._score(choices, self.sharing, "tuning")
        return choices[min(range(len(found)), key=lambda n: found[n].total_s)]

    def _solved(self, problem: Problem, sharing: str) -> Choice:
        return solve(
            problem,
            self.surrogate,
            sharing=sharing,
            rng=self.rng("tuning"),
            num_rounds=self.num_rounds,
        ).choice

    def _score(
        self, choices: Sequence[Choice], sharing: str, purpose: str
    ) -> list[Score]:
        return score(
            self.problem,
            self.surrogate,
            choices,
            sharing=sharing,
            rng=self.rng(purpose),
            num_rounds=self.num_rounds,
        )

    def _scored(self, plans: dict[str, Choice], sharing: str) -> list[Rival]:
        found = self._score(list(plans.values()), sharing, "scoring")
        return [
            Rival(
                name=name,
                choice=choice,
                score=one,
                bound_s=value(choice, self.problem, self.surrogate).round_s,
            )
            for (name, choice), one in zip(plans.items(), found, strict=True)
        ]
