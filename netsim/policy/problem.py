"""The joint problem of a plan: who takes part how often, and at what rank."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from netsim.errors import InputError
from netsim.policy.round_time import Load, best_threshold_s, linear_bound_s
from netsim.policy.sampler import FloatArray
from netsim.policy.surrogate import Surrogate

Array = npt.NDArray[np.floating]
IndexArray = npt.NDArray[np.intp]
LEAST_PROBABILITY = 1e-12  # of a client without data


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What a fleet costs at each rank; arrays are by client, tables by client and rank.

    Any floating dtype will do; a million clients fit in float32. ``is_allowed`` holds
    what memory and deadlines leave; ``max_weight`` bounds ``a_n / q_n``.
    """

    data_weights: Array
    norms2: Array  # G_n^2, squared norms of updates
    ranks: tuple[int, ...]
    global_rank: int
    compute_s: Array  # by client and rank
    need_hz_s: Array  # by client and rank: upload time at one hertz
    bits: FloatArray  # by rank
    is_allowed: npt.NDArray[np.bool_]  # by client and rank
    band_hz: float
    fixed_s: float  # of every round: broadcast, announcement, merge
    max_weight: float
    copies: FloatArray | float = 1.0  # how many clients each stands for, in a sample

    def __post_init__(self) -> None:
        num_stuck = int(np.sum(~self.is_allowed.any(axis=1)))
        if num_stuck:
            raise InputError(
                f"{num_stuck} of {len(self)} clients are allowed no rank at all; leave "
                "them out, lower the least rank, or relax memory and deadline"
            )
        largest = float(self.data_weights.max())
        if self.max_weight < largest:
            raise InputError(
                "max_weight must be at least the largest data weight, "
                f"{largest:.4g}, got {self.max_weight!r}"
            )
        if not all(0 < rank <= self.global_rank for rank in self.ranks):
            raise InputError(
                f"ranks must lie in 1 to the global rank {self.global_rank}, "
                f"got {self.ranks}"
            )

    def __len__(self) -> int:
        return len(self.data_weights)

    @cached_property
    def floors(self) -> Array:
        """Return the least probabilities that ``max_weight`` leaves; never zero."""
        floors = self.data_weights / self.max_weight
        return np.asarray(np.clip(floors, LEAST_PROBABILITY, 1.0))

    @cached_property
    def moments(self) -> Array:
        """Return ``a_n^2 G_n^2``."""
        return self.data_weights**2 * self.norms2

    def rank_ratios(self) -> FloatArray:
        """Return ``r / k`` for each rank."""
        return self.global_rank / np.asarray(self.ranks, dtype=float)

    def sample(self, client_ids: IndexArray, copies: FloatArray) -> Problem:
        """Return the same problem for some clients that each stand for several."""
        return replace(
            self,
            copies=copies,
            data_weights=self.data_weights[client_ids],
            norms2=self.norms2[client_ids],
            compute_s=self.compute_s[client_ids],
            need_hz_s=self.need_hz_s[client_ids],
            is_allowed=self.is_allowed[client_ids],
        )


def at_rank_index(problem: Problem, rank_index: IndexArray) -> Problem:
    """Return the problem in which each client has only the rank at that place."""
    is_allowed = np.zeros_like(problem.is_allowed)
    is_allowed[np.arange(len(problem)), rank_index] = True
    return replace(problem, is_allowed=is_allowed)


def at_top_rank(problem: Problem) -> Problem:
    """Return the problem in which each client has only its highest allowed rank."""
    top = len(problem.ranks) - 1 - problem.is_allowed[:, ::-1].argmax(axis=1)
    return at_rank_index(problem, top)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A probability and a place in the list of ranks for each client."""

    probabilities: Array
    rank_index: npt.NDArray[np.int8]

    def load(self, problem: Problem) -> Load:
        """Return what a round asks of each client at its rank."""
        rows = np.arange(len(problem))
        return Load(
            compute_s=problem.compute_s[rows, self.rank_index].astype(float),
            need_hz_s=problem.need_hz_s[rows, self.rank_index].astype(float),
            bits=problem.bits[self.rank_index],
        )

    def variance(self, problem: Problem, nu: float) -> float:
        """Return ``sum a_n^2 G_n^2 (r / k_n)^nu / q_n``."""
        ratios = problem.rank_ratios() ** nu
        terms = problem.moments * ratios[self.rank_index] / self.probabilities
        return float(np.sum(terms * problem.copies, dtype=float))


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """The value of a choice: seconds per round by the linear bound at its best
    threshold, rounds, and their product."""

    round_s: float
    rounds: float
    threshold_s: float

    @property
    def total_s(self) -> float:
        """Return the time to the target in seconds."""
        return self.round_s * self.rounds


def value(choice: Choice, problem: Problem, surrogate: Surrogate) -> Value:
    """Return the value of a choice by the bound of :mod:`netsim.policy.round_time`."""
    load = choice.load(problem)
    q = choice.probabilities.astype(float) * problem.copies
    threshold_s = best_threshold_s(q, load.compute_s)
    bound_s = linear_bound_s(q, load, problem.band_hz, threshold_s)
    return Value(
        round_s=problem.fixed_s + bound_s,
        rounds=surrogate.rounds(choice.variance(problem, surrogate.nu)),
        threshold_s=threshold_s,
    )
