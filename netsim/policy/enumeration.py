"""Small fleets exactly: expected round times over all subsets of clients, and plans
polished under them.

Clients are drawn independently, so ``E[T]`` is linear in each ``q_n`` alone and the
time to the target is ``(A + B q_n) (C + D / q_n)``: a client's best probability at any
rank is ``sqrt(A D / (B C))`` within its limits, and clients take turns (derived here).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from netsim.policy.problem import Choice, Problem
from netsim.policy.round_time import ROUND_TIMES, Draws
from netsim.policy.sampler import FloatArray
from netsim.policy.surrogate import Surrogate

MOST_CLIENTS: Final = 10  # 1,024 subsets
MOST_STARTED: Final = 6  # clients up to which every subset is a start
NUM_POLISHED: Final = 12  # of the starts, the best
NUM_SWEEPS: Final = 60
LEAST_GAIN: Final = 1e-7  # relative; a sweep that brings less is the last


def is_small(problem: Problem) -> bool:
    """Return whether all subsets of the clients can be enumerated."""
    return len(problem) <= MOST_CLIENTS and not np.any(np.asarray(problem.copies) != 1)


@dataclass(frozen=True, kw_only=True)
class Enumeration:
    """All subsets of a small fleet under a sharing rule."""

    problem: Problem
    surrogate: Surrogate
    sharing: str
    _known_s: dict[bytes, FloatArray] = field(default_factory=dict)

    def round_s(self, choice: Choice) -> float:
        """Return the expected seconds of a round, without its fixed part."""
        chances = _chances(self._subsets, choice.probabilities.astype(float))
        return float(chances @ self._times_s(choice.rank_index))

    def total_s(self, choice: Choice) -> float:
        """Return the expected seconds to the target."""
        variance = choice.variance(self.problem, self.surrogate.nu)
        rounds = self.surrogate.rounds(variance)
        return (self.problem.fixed_s + self.round_s(choice)) * rounds

    def polished(self, choices: Sequence[Choice]) -> Choice:
        """Return the best end of descents from the best of the given choices and of
        plans in which some clients always take part, the others as seldom as may be."""
        starts = [*choices, *self._some_always(choices[0].rank_index)]
        starts.sort(key=self.total_s)
        ends = [self._descend(start) for start in starts[:NUM_POLISHED]]
        return min(ends, key=self.total_s)

    def _some_always(self, rank_index: npt.NDArray[np.int8]) -> Iterator[Choice]:
        problem = self.problem
        rows = np.arange(len(problem))
        alone_s = problem.compute_s + problem.need_hz_s / problem.band_hz
        order = np.argsort(alone_s[rows, rank_index], kind="stable")
        subsets = np.tri(len(problem), dtype=bool)[:, np.argsort(order)]
        if len(problem) <= MOST_STARTED:
            subsets = self._subsets
        for is_in in subsets:
            q = np.where(is_in, 1.0, problem.floors)
            yield Choice(probabilities=q, rank_index=rank_index)

    def _descend(self, now: Choice) -> Choice:
        least_s = self.total_s(now)
        for _ in range(NUM_SWEEPS):
            before_s = least_s
            for client_id in range(len(self.problem)):
                for place in np.flatnonzero(self.problem.is_allowed[client_id]):
                    tried = self._turn(now, client_id, int(place))
                    total_s = self.total_s(tried)
                    if total_s < least_s:
                        now, least_s = tried, total_s
            if not least_s < before_s * (1 - LEAST_GAIN):
                break
        return now

    def _turn(self, now: Choice, client_id: int, place: int) -> Choice:
        """Return the choice with one client's best probability at a rank."""
        problem, law = self.problem, self.surrogate
        rank_index = now.rank_index.copy()
        rank_index[client_id] = place
        q = now.probabilities.astype(float)
        q[client_id] = 1.0
        times_s = self._times_s(rank_index)
        present_s = float(_chances(self._subsets, q) @ times_s)
        own = problem.moments[client_id] * problem.rank_ratios()[place] ** law.nu
        q[client_id] = 0.0
        absent_s = float(_chances(self._subsets, q) @ times_s) + problem.fixed_s
        q[client_id] = 1.0
        at_one = Choice(probabilities=q, rank_index=rank_index)
        d = law.alpha * float(own)
        c = law.beta + law.alpha * at_one.variance(problem, law.nu) - d
        b = present_s + problem.fixed_s - absent_s
        found = (absent_s * d / (b * c)) ** 0.5 if b * c > 0 else 1.0
        if d + c * found < found:  # less than one round is no gain
            found = d / (1 - c)
        q[client_id] = np.clip(found, problem.floors[client_id], 1.0)
        return at_one

    def _times_s(self, rank_index: npt.NDArray[np.int8]) -> FloatArray:
        """Return each subset's round time at these ranks."""
        key = rank_index.tobytes()
        if key not in self._known_s:
            ones = np.ones(len(self.problem))
            load = Choice(probabilities=ones, rank_index=rank_index).load(self.problem)
            index, client = np.nonzero(self._subsets)
            draws = Draws(
                num_rounds=len(self._subsets), round_index=index, client_index=client
            )
            times_s = ROUND_TIMES[self.sharing](draws, load, self.problem.band_hz)
            self._known_s[key] = times_s
        return self._known_s[key]

    @property
    def _subsets(self) -> npt.NDArray[np.bool_]:
        numbers = np.arange(2 ** len(self.problem))[:, None]
        return (numbers >> np.arange(len(self.problem)) & 1).astype(bool)


def _chances(subsets: npt.NDArray[np.bool_], q: FloatArray) -> FloatArray:
    """Return the probability of every subset."""
    return np.asarray(np.where(subsets, q, 1 - q).prod(axis=1))
