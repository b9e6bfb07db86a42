"""Student's t without scipy: intervals, p-values, Holm's correction, and power."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from statistics import NormalDist

LEVEL = 0.95
POWER = 0.8
MIN_SEEDS = 5  # with fewer an interval is not worth its name


def p_value(t: float, df: int) -> float:
    """Return the two-sided p-value of a t statistic (Abramowitz and Stegun, 26.7.3)."""
    if math.isinf(t):
        return 0.0
    theta = math.atan2(abs(t), math.sqrt(df))
    sine, cosine2 = math.sin(theta), math.cos(theta) ** 2
    term, total = 1.0, 0.0
    for k in range(df // 2):
        total += term
        up, down = (2 * k + 2, 2 * k + 3) if df % 2 else (2 * k + 1, 2 * k + 2)
        term *= cosine2 * up / down
    if df % 2:
        inside = (theta + sine * math.cos(theta) * total) * 2 / math.pi
    else:
        inside = sine * total
    return max(1.0 - inside, 0.0)


def quantile(probability: float, df: int) -> float:
    """Return the t below which this share, at least half, of Student's t lies."""
    if df > 1000:  # within 1e-5: the first term of Cornish and Fisher's expansion
        z = NormalDist().inv_cdf(probability)
        return z + (z**3 + z) / (4 * df)
    low, high = 0.0, 1.0
    while 1 - p_value(high, df) / 2 < probability:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        if 1 - p_value(middle, df) / 2 < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted by Holm's step-down correction; NaN stays, uncounted."""
    order = sorted(
        (i for i, p in enumerate(p_values) if not math.isnan(p)),
        key=lambda i: p_values[i],
    )
    adjusted = [math.nan] * len(p_values)
    raised = (p_values[i] * (len(order) - rank) for rank, i in enumerate(order))
    for i, p in zip(order, itertools.accumulate(raised, max), strict=True):
        adjusted[i] = min(p, 1.0)
    return adjusted


def seeds_needed(spread: float, difference: float) -> int:
    """Return how many seeds a paired t test needs to see a relative difference with a
    power of 80 %, where logarithms of single ratios have this standard deviation."""
    if not spread > 0:
        return MIN_SEEDS
    effect = abs(math.log1p(difference)) / spread
    num = max(MIN_SEEDS, math.floor((1.96 + 0.84) ** 2 / effect**2))
    while math.sqrt(num) * effect < sum(
        quantile(probability, num - 1) for probability in ((1 + LEVEL) / 2, POWER)
    ):
        num += 1
    return num
