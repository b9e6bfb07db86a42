"""The joint solver: probabilities and whole ranks for the least time to the target.

``min over q, k of E[T(q, k)] R(q, k)``: who minimises a product of positive functions
minimises ``R + lambda T`` for some ``lambda``, and with the linear bound on ``T`` that
splits over clients (derived here; arXiv 2505.23555 poses the problem).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt

from netsim.policy.baselines import scaled_probabilities
from netsim.policy.enumeration import Enumeration, is_small
from netsim.policy.fixed_shares import PARTS, prepare
from netsim.policy.problem import Array, Choice, Problem, Value, value
from netsim.policy.round_time import ROUND_TIMES, Estimate, estimate_s
from netsim.policy.surrogate import Surrogate

CHUNK: Final = 32_768  # clients at a time: their tables stay in cache
SAMPLE_SIZE: Final = 4_096
NUM_MULTIPLIERS: Final = 32
THRESHOLD_QUANTILES: Final = (0.1, 0.25, 0.5, 0.75, 0.9, 0.97, 1.0)
NUM_STARTS: Final = 4  # the best of the grid, from each of which we descend
NUM_DESCENTS: Final = 30
NUM_FULL_DESCENTS: Final = 3  # over all clients, after a search on a sample
RESCORED_FACTORS: Final = (0.35, 0.6, 1.0, 1.6, 2.8, 5.0)  # times the best multiplier
RESCORED_QUANTILES: Final = (
    0.25,
    0.75,
    1.0,
)  # thresholds in addition to zero and the best
LEAST_SIZE: Final = 0.1  # of a client in the sampling, relative to the mean
PROMISED_ERROR: Final = 0.005  # of a winner's seconds per round, relative
MOST_PROMISED: Final = 32.0  # times the rounds that chose it
TINY: Final = 1e-15  # seconds; instead of no time at all
EXTREME: Final = 1e15  # a multiplier at which only time counts, or its inverse


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The Monte Carlo estimate of a choice under a sharing rule."""

    round_s: Estimate
    rounds: float

    @property
    def total_s(self) -> float:
        """Return the expected time to the target in seconds."""
        return self.round_s.mean_s * self.rounds

    @property
    def total_error_s(self) -> float:
        """Return its standard error, by that of the round's seconds."""
        return self.round_s.error_s * self.rounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """A plan, what the bound and Monte Carlo say of it, and how it was found."""

    choice: Choice
    ranks: npt.NDArray[np.int64]
    value: Value
    score: Score
    multiplier: float
    num_searched: int  # clients in the search
    sample_gap: float  # of the bound over all clients, relative to that of the sample


def solve(
    problem: Problem,
    surrogate: Surrogate,
    *,
    sharing: str,
    rng: np.random.Generator,
    num_rounds: int = 256,
) -> Solution:
    """Return the best plan found: a search by the bound, then Monte Carlo of the best
    few under the sharing rule in force, and of the winner by a fresh sample.

    A fleet small enough to enumerate is scored exactly and its plan polished under the
    exact expectation; see :mod:`netsim.policy.enumeration`.

    The bound is that of equal-finish and of rules that never idle. Where shares are
    fixed otherwise it does not hold; there the best few are where a descent on Monte
    Carlo itself starts, see :mod:`netsim.policy.fixed_shares`.
    """
    searched, prices, sample_gap = _search_all(problem, surrogate)
    choices = [respond(problem, surrogate, one) for one in _around(prices, searched)]
    if sharing in PARTS:
        choices = [prepare(problem, surrogate, sharing, rng).best(choices)]
    if is_small(problem):
        fleet = Enumeration(problem=problem, surrogate=surrogate, sharing=sharing)
        choices = [fleet.polished(choices)]
    scoring = partial(score, problem, surrogate, sharing=sharing, rng=rng)
    scores = scoring(choices, num_rounds=num_rounds)
    best = min(range(len(scores)), key=lambda place: scores[place].total_s)
    choice = choices[best]
    promised = _promise(scoring, choice, scores[best], num_rounds)
    return Solution(
        choice=choice,
        ranks=np.asarray(problem.ranks)[choice.rank_index],
        value=value(choice, problem, surrogate),
        score=promised,
        multiplier=promised.rounds / max(promised.round_s.mean_s, TINY),
        num_searched=len(searched),
        sample_gap=sample_gap,
    )


def _promise(
    scoring: Callable[..., list[Score]], choice: Choice, chosen: Score, num_rounds: int
) -> Score:
    """Return what a fresh sample says of the winner, which the one that chose it makes
    too good: with as many more rounds as bring its error to a part of the mean."""
    if not chosen.round_s.error_s:
        return chosen
    spread = chosen.round_s.error_s / max(chosen.round_s.mean_s, TINY)
    factor = int(np.ceil(min((spread / PROMISED_ERROR) ** 2, MOST_PROMISED)))
    (fresh,) = scoring([choice], num_rounds=num_rounds * max(factor, 1))
    return fresh


def _search_all(
    problem: Problem, surrogate: Surrogate
) -> tuple[Problem, Prices, float]:
    """Return the clients in the search, the prices found, and the sample's gap."""
    if len(problem) <= SAMPLE_SIZE:
        return problem, search(problem, surrogate), 0.0
    searched = stratify(problem, SAMPLE_SIZE)
    prices = search(searched, surrogate)
    guess_s = _total_s(searched, surrogate, prices)
    sample_gap = _total_s(problem, surrogate, prices) / guess_s - 1
    prices = descend(problem, surrogate, prices, NUM_FULL_DESCENTS)
    return searched, prices, sample_gap


def score(
    problem: Problem,
    surrogate: Surrogate,
    choices: Sequence[Choice],
    *,
    sharing: str,
    rng: np.random.Generator,
    num_rounds: int = 256,
) -> list[Score]:
    """Return what Monte Carlo with common random numbers says of each choice, or all
    subsets of the clients where these are few."""
    plans = [
        (choice.probabilities.astype(float), choice.load(problem)) for choice in choices
    ]
    if is_small(problem):
        fleet = Enumeration(problem=problem, surrogate=surrogate, sharing=sharing)
        found = [Estimate(fleet.round_s(choice), 0.0) for choice in choices]
    else:
        times = ROUND_TIMES[sharing]
        found = estimate_s(plans, times, problem.band_hz, num_rounds, rng)
    return [
        Score(
            round_s=Estimate(problem.fixed_s + one.mean_s, one.error_s),
            rounds=surrogate.rounds(choice.variance(problem, surrogate.nu)),
        )
        for choice, one in zip(choices, found, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Prices:
    """What a second costs in rounds, and the compute time that is free."""

    multiplier: float
    threshold_s: float


def search(problem: Problem, surrogate: Surrogate) -> Prices:
    """Return the prices whose choice has the least value: a grid, then descents."""
    starts = []
    for threshold_s in _thresholds_s(problem, THRESHOLD_QUANTILES):
        found = [
            (value(respond(problem, surrogate, one), problem, surrogate).total_s, one)
            for one in _multipliers(problem, surrogate, threshold_s)
        ]
        starts.append(min(found, key=lambda pair: pair[0]))
    starts.sort(key=lambda pair: pair[0])
    ends = [
        descend(problem, surrogate, start, NUM_DESCENTS)
        for _, start in starts[:NUM_STARTS]
    ]
    return min(ends, key=lambda one: _total_s(problem, surrogate, one))


def descend(
    problem: Problem, surrogate: Surrogate, start: Prices, num_steps: int
) -> Prices:
    """Return prices of no greater value: ``lambda <- R / T`` and the best threshold of
    the last choice, in turn.

    If ``R' + lambda T' <= R + lambda T = 2 R`` then ``R' T' <= R T``, by the
    inequality of arithmetic and geometric means.
    """
    best, least_s = start, np.inf
    prices = start
    for _ in range(num_steps):
        now = value(respond(problem, surrogate, prices), problem, surrogate)
        if not now.total_s < least_s * (1 - 1e-7):
            break
        best, least_s = prices, now.total_s
        prices = Prices(now.rounds / now.round_s, now.threshold_s)
    return best


def respond(problem: Problem, surrogate: Surrogate, prices: Prices) -> Choice:
    """Return each client's own best ``q`` and ``k`` at the given prices."""
    num_clients = len(problem)
    probabilities = np.empty(num_clients, dtype=problem.moments.dtype)
    rank_index = np.zeros(num_clients, dtype=np.int8)
    for start in range(0, num_clients, CHUNK):
        rows = slice(start, min(start + CHUNK, num_clients))
        q, index = _respond(problem, surrogate, prices, rows)
        probabilities[rows], rank_index[rows] = q, index
    return Choice(probabilities=probabilities, rank_index=rank_index)


def _respond(
    problem: Problem, surrogate: Surrogate, prices: Prices, rows: slice
) -> tuple[Array, npt.NDArray[np.int8]]:
    """With ``w = (tau - D)+ + t / band`` and ``c = alpha a^2 G^2 (r/k)^nu``, return
    ``q = clip(sqrt(c / (lambda w)), a / w_max, 1)`` at the rank of least
    ``c / q + lambda q w``."""
    floors, moments = problem.floors[rows], problem.moments[rows]
    best_q, best_index = floors.copy(), np.zeros(len(moments), dtype=np.int8)
    least = np.full_like(moments, np.inf)
    for place, ratio in enumerate((problem.rank_ratios() ** surrogate.nu).tolist()):
        compute_s = problem.compute_s[rows, place]
        weight = np.maximum(compute_s - prices.threshold_s, 0.0)
        weight += problem.need_hz_s[rows, place] * (1 / problem.band_hz)
        weight = np.maximum(weight, TINY) * prices.multiplier
        gain = moments * (surrogate.alpha * ratio)
        q = np.clip(np.sqrt(gain / weight), floors, 1.0)
        cost = gain / q + weight * q
        is_better = (cost < least) & problem.is_allowed[rows, place]
        np.copyto(least, cost, where=is_better)
        np.copyto(best_q, q, where=is_better)
        best_index[is_better] = place
    return best_q, best_index


def stratify(problem: Problem, num_wanted: int) -> Problem:
    """Return the problem for a sample of clients who stand for all.

    A client is included with a probability in proportion to ``sqrt(c w)``, its part of
    both sums where no limit binds, by a systematic draw in an order by ``c / w`` and,
    within blocks of that, by seconds; it stands for the inverse of that probability.
    """
    rank_index = problem.is_allowed.argmax(axis=1)
    rows = np.arange(len(problem))
    upload_s = problem.need_hz_s[rows, rank_index] / problem.band_hz
    seconds = np.maximum(problem.compute_s[rows, rank_index] + upload_s, TINY)
    moments = problem.moments.astype(float)
    least = LEAST_SIZE * float(np.sqrt(moments * seconds).mean())
    included = scaled_probabilities(
        np.sqrt(moments * seconds) + least, float(num_wanted)
    )
    place = np.empty(len(problem), dtype=np.intp)
    place[np.argsort(moments / seconds, kind="stable")] = rows
    num_blocks = max(1, round(num_wanted**0.5))
    order = np.lexsort((seconds, place * num_blocks // len(problem)))
    ends = np.cumsum(included[order])
    chosen = np.searchsorted(ends, np.arange(num_wanted) + 0.5)
    client_ids = np.unique(order[np.minimum(chosen, len(problem) - 1)])
    return problem.sample(client_ids, 1 / included[client_ids])


def _total_s(problem: Problem, surrogate: Surrogate, prices: Prices) -> float:
    return value(respond(problem, surrogate, prices), problem, surrogate).total_s


def _around(prices: Prices, problem: Problem) -> list[Prices]:
    """Return the prices of the best few, for Monte Carlo to compare."""
    thresholds_s = {prices.threshold_s, *_thresholds_s(problem, RESCORED_QUANTILES)}
    return [
        Prices(prices.multiplier * factor, threshold_s)
        for threshold_s in sorted(thresholds_s)
        for factor in RESCORED_FACTORS
    ]


def _thresholds_s(problem: Problem, quantiles: Sequence[float]) -> list[float]:
    """Return zero and quantiles of the compute times at the lowest allowed ranks."""
    fastest_s = np.where(problem.is_allowed, problem.compute_s, np.inf).min(axis=1)
    return sorted({0.0, *np.quantile(fastest_s, quantiles).tolist()})


def _multipliers(
    problem: Problem, surrogate: Surrogate, threshold_s: float
) -> Iterable[Prices]:
    """Return prices between the least rounds over the longest round and the most rounds
    over the shortest."""
    rare, often = (
        value(
            respond(problem, surrogate, Prices(multiplier, threshold_s)),
            problem,
            surrogate,
        )
        for multiplier in (EXTREME, 1 / EXTREME)
    )
    low = often.rounds / max(often.round_s, TINY)
    high = rare.rounds / max(rare.round_s, TINY)
    grid = np.geomspace(min(low, high), max(low, high), NUM_MULTIPLIERS)
    return [Prices(multiplier, threshold_s) for multiplier in grid.tolist()]
