"""How long a round of independently drawn clients takes: bounds and Monte Carlo.

One cell, constant spectral efficiency within a round, no ceilings: client ``n``
computes for ``tau_n`` seconds and then needs ``t_n`` hertz-seconds of the band. What is
derived here and not found in a paper is tested against the event engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from netsim.errors import InputError
from netsim.policy.sampler import FloatArray

IntArray = npt.NDArray[np.intp]
RoundTimes = Callable[["Draws", "Load", float], FloatArray]

MAX_NEWTON_STEPS: Final = 60  # it stops far earlier
NEWTON_TOLERANCE: Final = 1e-12  # of the last step, relative
TINIEST: Final = float(np.finfo(float).tiny)
CHUNK_PAIRS: Final = 500_000  # of (round, client) at a time
RARE: Final = 0.2  # up to this probability clients are called instead of tossed for


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a round asks of each client: seconds of compute, then hertz-seconds of
    band (``t_n``, the upload time at one hertz) for the bits of its upload."""

    compute_s: FloatArray
    need_hz_s: FloatArray
    bits: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """Who takes part in many rounds: pairs (round, client), sorted by round."""

    num_rounds: int
    round_index: IntArray
    client_index: IntArray

    def total(self, values: FloatArray) -> FloatArray:
        """Return the sum of a value per pair over each round."""
        sums = np.bincount(self.round_index, values, self.num_rounds)
        return sums.astype(float)  # without any pair numpy returns whole numbers

    def most(self, values: FloatArray) -> FloatArray:
        """Return the greatest value per pair in each round; zero for an empty one."""
        most = np.zeros(self.num_rounds)
        starts = np.flatnonzero(np.diff(self.round_index, prepend=-1))
        if len(starts):
            most[self.round_index[starts]] = np.maximum.reduceat(values, starts)
        return most


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean and its standard error, in seconds."""

    mean_s: float
    error_s: float


def expected_longest_compute_s(
    probabilities: FloatArray, compute_s: FloatArray
) -> float:
    """Return ``E[max tau of the drawn]``, exactly; an empty round counts as zero.

    In descending order of ``tau``, client ``i`` is the slowest with probability
    ``q_i prod over j < i of (1 - q_j)``.
    """
    order = np.argsort(-compute_s, kind="stable")
    q = probabilities[order]
    all_before_absent = np.concatenate(([1.0], np.cumprod(1.0 - q)[:-1]))
    return float(np.sum(compute_s[order] * q * all_before_absent))


def expected_busy_s(probabilities: FloatArray, load: Load, band_hz: float) -> float:
    """Return ``C = sum q_n t_n / band``, the band's expected busy time in a round."""
    return float(probabilities @ load.need_hz_s) / band_hz


def order_bound_s(probabilities: FloatArray, load: Load, band_hz: float) -> float:
    """Return ``C + E[max tau]``: no less than the expected round time of equal-finish
    and of every rule that never idles, but not of fixed equal shares."""
    busy_s = expected_busy_s(probabilities, load, band_hz)
    return busy_s + expected_longest_compute_s(probabilities, load.compute_s)


def linear_bound_s(
    probabilities: FloatArray, load: Load, band_hz: float, threshold_s: float
) -> float:
    """Return ``C + D + sum q_n (tau_n - D)+`` at ``D = threshold_s``: linear in ``q``
    and no less than :func:`order_bound_s`."""
    over_s = np.maximum(load.compute_s - threshold_s, 0.0)
    busy_s = expected_busy_s(probabilities, load, band_hz)
    return busy_s + threshold_s + float(probabilities @ over_s)


def best_threshold_s(probabilities: FloatArray, compute_s: FloatArray) -> float:
    """Return the ``D`` that makes the linear bound least: the smallest with at most one
    client expected beyond it."""
    order = np.argsort(-compute_s, kind="stable")
    beyond = np.cumsum(probabilities[order])
    place = int(np.searchsorted(beyond, 1.0, side="right"))
    return float(compute_s[order[place]]) if place < len(order) else 0.0


def common_draws(
    plans: Sequence[FloatArray], num_rounds: int, rng: np.random.Generator
) -> Iterator[tuple[Draws, ...]]:
    """Yield chunks of rounds drawn for every plan with the same random numbers.

    A client that is drawn with the largest of its probabilities has a lot, uniform
    below that; a plan draws it where the lot is below the plan's own. The cost is in
    proportion to the number drawn, not to the size of the fleet.
    """
    most = np.max(plans, axis=0)
    num_expected = float(most.sum()) + np.count_nonzero(most > RARE)
    num_at_once = max(1, min(num_rounds, int(CHUNK_PAIRS / (num_expected + 1))))
    for start in range(0, num_rounds, num_at_once):
        num_now = min(num_at_once, num_rounds - start)
        index, client = _toss(most, num_now, rng)
        lots = rng.random(len(client)) * most[client]
        chosen = (lots < plan[client] for plan in plans)
        yield tuple(
            Draws(
                num_rounds=num_now,
                round_index=index[is_drawn],
                client_index=client[is_drawn],
            )
            for is_drawn in chosen
        )


def _toss(
    probabilities: FloatArray, num_rounds: int, rng: np.random.Generator
) -> tuple[IntArray, IntArray]:
    """Return the pairs (round, client) that independent coins draw, sorted.

    Rare clients come by a Poisson number of calls of rate ``-ln(1 - q)``, at least one
    of which has probability ``q``; the others have a coin each.
    """
    is_rare = probabilities <= RARE
    common = np.flatnonzero(~is_rare)
    coins = rng.random((num_rounds, len(common)))
    index, place = np.nonzero(coins < probabilities[common])
    ends = np.cumsum(np.where(is_rare, -np.log1p(-probabilities * is_rare), 0.0))
    counts = rng.poisson(ends[-1], num_rounds)
    calls = rng.random(int(counts.sum())) * ends[-1]
    called = np.searchsorted(ends, calls, side="right")
    called_in = np.repeat(np.arange(num_rounds), counts)
    pairs = np.concatenate((index, called_in)) * len(probabilities)
    pairs = np.sort(pairs + np.concatenate((common[place], called)))
    pairs = pairs[np.diff(pairs, prepend=-1) > 0]
    return pairs // len(probabilities), pairs % len(probabilities)


def estimate_s(
    plans: Sequence[tuple[FloatArray, Load]],
    round_times: RoundTimes,
    band_hz: float,
    num_rounds: int,
    rng: np.random.Generator,
) -> list[Estimate]:
    """Return the expected round time of each plan (probabilities and load) by Monte
    Carlo; all plans meet the same draws, so their order is known better than each."""
    samples: list[list[FloatArray]] = [[] for _ in plans]
    for draws in common_draws([plan[0] for plan in plans], num_rounds, rng):
        for sample, one, (_, load) in zip(samples, draws, plans, strict=True):
            sample.append(round_times(one, load, band_hz))
    joined = [np.concatenate(sample) for sample in samples]
    return [
        Estimate(float(took_s.mean()), float(took_s.std(ddof=1) / num_rounds**0.5))
        for took_s in joined
    ]


def equal_fixed_s(draws: Draws, load: Load, band_hz: float) -> FloatArray:
    """Return ``max of tau_n + K t_n / band``, in seconds per round."""
    return _fixed_s(draws, load, np.ones(len(draws.client_index)), band_hz)


def proportional_s(draws: Draws, load: Load, band_hz: float) -> FloatArray:
    """Return the round times of fixed shares in proportion to payload."""
    return _fixed_s(draws, load, load.bits[draws.client_index], band_hz)


def equal_rate_s(draws: Draws, load: Load, band_hz: float) -> FloatArray:
    """Return the round times of fixed shares with which all have one rate."""
    hz_s_per_bit = load.need_hz_s / np.maximum(load.bits, 1.0)
    return _fixed_s(draws, load, hz_s_per_bit[draws.client_index], band_hz)


def equal_finish_s(draws: Draws, load: Load, band_hz: float) -> FloatArray:
    """Return the root above ``max tau`` of ``sum t_n / (T - tau_n) = band``.

    The sum is convex and falls, so Newton from below, where no rule can end earlier,
    never overshoots.
    """
    compute_s = load.compute_s[draws.client_index]
    need_hz_s = load.need_hz_s[draws.client_index]
    longest_s = draws.most(compute_s)
    lead_s = longest_s[draws.round_index] - compute_s
    after_s = work_conserving_s(draws, load, band_hz) - longest_s
    for _ in range(MAX_NEWTON_STEPS):
        left_s = np.maximum(after_s[draws.round_index] + lead_s, TINIEST)
        share_hz = need_hz_s / left_s
        excess_hz = draws.total(share_hz) - band_hz
        slope = draws.total(share_hz / left_s)
        step_s = np.divide(
            excess_hz, slope, out=np.zeros_like(slope), where=slope > TINIEST
        )
        step_s = np.maximum(step_s, 0.0)
        after_s = after_s + step_s
        if not np.any(step_s > NEWTON_TOLERANCE * after_s):
            break
    return longest_s + after_s


def work_conserving_s(draws: Draws, load: Load, band_hz: float) -> FloatArray:
    """Return ``T* = max over x of (x + sum over {tau_n >= x} of t_n / band)``, which
    every rule reaches that never leaves the band idle."""
    num_clients = len(load.compute_s)
    slowest_first = np.argsort(-load.compute_s, kind="stable")
    place = np.empty(num_clients, dtype=np.intp)
    place[slowest_first] = np.arange(num_clients)
    pairs = np.sort(draws.round_index * num_clients + place[draws.client_index])
    index = draws.round_index  # sorted, so sorting the pairs leaves it as it is
    client = slowest_first[pairs - index * num_clients]
    need_hz_s = load.need_hz_s[client]
    total = np.cumsum(need_hz_s)
    before = np.concatenate(([0.0], np.cumsum(draws.total(need_hz_s))[:-1]))
    return draws.most(load.compute_s[client] + (total - before[index]) / band_hz)


def _fixed_s(draws: Draws, load: Load, parts: FloatArray, band_hz: float) -> FloatArray:
    """Return the round times when each pair's fixed share is in proportion to its
    part."""
    share_hz = band_hz * parts / draws.total(parts)[draws.round_index]
    need_hz_s = load.need_hz_s[draws.client_index]
    sending_s = np.divide(
        need_hz_s, share_hz, out=np.zeros_like(share_hz), where=need_hz_s > 0
    )
    return draws.most(load.compute_s[draws.client_index] + sending_s)


ROUND_TIMES: Mapping[str, RoundTimes] = {
    "equal-finish": equal_finish_s,
    "equal-fixed": equal_fixed_s,
    "equal-rate": equal_rate_s,
    "first-come": work_conserving_s,
    "max-min": equal_rate_s,
    "max-min-live": work_conserving_s,
    "processor-sharing": work_conserving_s,
    "proportional": proportional_s,
    "proportional-fair": equal_fixed_s,
    "proportional-fair-live": work_conserving_s,
    "shortest-first": work_conserving_s,
    "tdma-first-come": work_conserving_s,
    "tdma-shortest-first": work_conserving_s,
    "weighted": work_conserving_s,
    "work-conserving": work_conserving_s,
}


def require_round_times(sharing: str) -> None:
    """Raise ``InputError`` where no round times are known for a sharing rule."""
    if sharing not in ROUND_TIMES:
        raise InputError(
            f"no round times are known for the sharing rule {sharing!r} "
            f"(known: {', '.join(ROUND_TIMES)})"
        )
