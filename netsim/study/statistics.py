"""Comparisons paired by seed, in which a run that missed its target still counts.

A run that ends before its target is met is right-censored: its time to target is known
to exceed the time at which it ended. Two estimators are used. The paired ratio is the
geometric mean over seeds of one arm's value through the other's, with the censored
value in place of the unknown one: a bound, and said to be one. The restricted mean is
the area under the Kaplan-Meier curve of the times up to a horizon that both arms were
watched for; it needs no bound and no pairs that met the target.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from netsim.study.student import LEVEL, MIN_SEEDS, p_value, quantile

NUM_RESAMPLES = 2000

Floats = NDArray[np.float64]
Bound = Literal["exact", "at least", "at most", "unknown"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One value per seed; where ``is_known`` is false the truth is larger."""

    values: Floats
    is_known: NDArray[np.bool_]

    def __post_init__(self) -> None:
        assert self.values.shape == self.is_known.shape

    def at(self, indices: NDArray[np.intp]) -> Sample:
        """Return the sample of some seeds, which may repeat."""
        return Sample(self.values[indices], self.is_known[indices])


@dataclass(frozen=True, slots=True)
class Ratio:
    """An estimate, the bootstrap interval and that of Student's t on paired logarithms
    with its p-value, from five seeds on, the least and the greatest of single seeds,
    and the standard deviation of their logarithms; NaN where there is none."""

    value: float = np.nan
    low: float = np.nan
    high: float = np.nan
    bound: Bound = "exact"
    t_low: float = np.nan
    t_high: float = np.nan
    p: float = np.nan
    least: float = np.nan
    most: float = np.nan
    spread: float = np.nan


NO_RATIO = Ratio(bound="unknown")


def paired_ratio(over: Sample, under: Sample, rng: np.random.Generator) -> Ratio:
    """Return the geometric mean of ``over / under`` over seeds, with the percentile
    bootstrap interval of resampled seeds and that of Student's t.

    Where only values of ``over`` are censored the truth is at least as large, where
    only those of ``under`` are, at most; else, or with a value of zero, unknown. A
    bound has no interval by Student's t.
    """
    bound = _bound(over, under)
    if bound == "unknown" or not (np.all(over.values > 0) and np.all(under.values > 0)):
        return NO_RATIO
    logs = np.log(over.values) - np.log(under.values)
    drawn = logs[_resamples(len(logs), rng)].mean(axis=1)
    low, high = _interval(np.exp(drawn), len(logs))
    value, least, most = np.exp([logs.mean(), logs.min(), logs.max()]).tolist()
    found = Ratio(value, low, high, bound, least=least, most=most)
    return _with_student(found, logs) if bound == "exact" else found


def _with_student(found: Ratio, logs: Floats) -> Ratio:
    """Return a ratio with its spread and, of five seeds or more, Student's interval and
    the p-value of no difference."""
    num = len(logs)
    if num < 2:
        return found
    spread = float(logs.std(ddof=1))
    if num < MIN_SEEDS:
        return replace(found, spread=spread)
    mean, error = float(logs.mean()), spread / math.sqrt(num)
    half = quantile((1 + LEVEL) / 2, num - 1) * error
    t = mean / error if error else math.copysign(math.inf, mean) if mean else 0.0
    low, high = np.exp([mean - half, mean + half]).tolist()
    p = p_value(t, num - 1)
    return replace(found, t_low=low, t_high=high, p=p, spread=spread)


def _bound(over: Sample, under: Sample) -> Bound:
    """Return how the geometric mean of the values bounds the true one."""
    if not len(over.values):
        return "unknown"
    is_more, is_less = bool((~over.is_known).any()), bool((~under.is_known).any())
    if is_more and is_less:
        return "unknown"
    return "at least" if is_more else "at most" if is_less else "exact"


def horizon(*arms: Sample) -> float:
    """Return up to when all arms were watched: the least of the times at which an arm
    whose last value is censored was left; without such an arm the last time."""
    ends = [
        float(arm.values.max())
        for arm in arms
        if not arm.is_known[arm.values == arm.values.max()].all()
    ]
    return min(ends) if ends else max(float(arm.values.max()) for arm in arms)


def restricted_mean(sample: Sample, until: float) -> float:
    """Return the area under the Kaplan-Meier curve from zero to ``until``.

    Of a resample left earlier the curve stays where it is. Without censoring this is
    the mean of the lesser of each value and ``until``.
    """
    times = np.unique(sample.values[sample.is_known])
    times = times[times < until]
    at_risk = (sample.values[None, :] >= times[:, None]).sum(axis=1)
    is_event = (sample.values[None, :] == times[:, None]) & sample.is_known[None, :]
    survival = np.cumprod(1 - is_event.sum(axis=1) / np.maximum(at_risk, 1))
    edges = np.concatenate([[0.0], times, [until]])
    return float(np.diff(edges) @ np.concatenate([[1.0], survival]))


def restricted_ratio(over: Sample, under: Sample, rng: np.random.Generator) -> Ratio:
    """Return the ratio of the restricted means up to the common horizon, with the
    percentile bootstrap interval of seeds resampled in pairs."""
    if not len(over.values):
        return NO_RATIO
    until = horizon(over, under)

    def ratio(indices: NDArray[np.intp]) -> float:
        below = restricted_mean(under.at(indices), until)
        return restricted_mean(over.at(indices), until) / below if below else np.nan

    return _with_interval(ratio, len(over.values), rng)


def _with_interval(
    statistic: Callable[[NDArray[np.intp]], float], num: int, rng: np.random.Generator
) -> Ratio:
    value = statistic(np.arange(num))
    drawn = np.array([statistic(row) for row in _resamples(num, rng)])
    return Ratio(float(value), *_interval(drawn, num))


def _resamples(num: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return one row of seeds' indices per resample."""
    return rng.integers(num, size=(NUM_RESAMPLES, num))


def _interval(drawn: Floats, num: int) -> tuple[float, float]:
    """Return the percentile interval, of five seeds or more."""
    if num < MIN_SEEDS or not np.isfinite(drawn).all():
        return np.nan, np.nan
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)
