"""Which variant comes first under each set of factors, and within which range."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple, TypeAlias

import numpy as np
import pandas as pd

from netsim.devices.fitting import COVERAGE
from netsim.study.factors import AS_IT_IS
from netsim.study.statistics import Sample, horizon, restricted_mean

MAX_NAMED = 3  # pairs
Times: TypeAlias = Mapping[str, float]  # seconds by variant


class Swaps(NamedTuple):
    """Pairs of variants in another order than without factors, each with the ratio of
    their times without, and the number of all pairs."""

    pairs: tuple[tuple[str, str, float], ...]
    num_pairs: int

    def __str__(self) -> str:
        if not self.num_pairs:
            return "nothing to order"
        if not self.pairs:
            return "the order stays"
        named = [f"{b} before {a}" for a, b, _ in self.pairs[:MAX_NAMED]]
        more = len(self.pairs) - len(named)
        rest = f" and {more} more" if more else ""
        widest = max(ratio for _, _, ratio in self.pairs)
        return (
            f"{len(self.pairs)} of {self.num_pairs} pairs swap: {', '.join(named)}"
            f"{rest} (at most {widest - 1:.1%} apart)"
        )


def times_s(table: pd.DataFrame) -> dict[str, Times]:
    """Return mean seconds by set of factors and variant of one target, restricted to
    what all variants of a set were watched for."""
    found: dict[str, Times] = {}
    for factors, rows in table.groupby("factors", sort=False):
        samples = {
            variant: Sample(
                own["time_ns"].to_numpy(np.float64) / 1e9,
                own["is_reached"].to_numpy(bool),
            )
            for variant, own in rows.groupby("variant", sort=False)
        }
        until = horizon(*samples.values())
        means = {str(v): restricted_mean(one, until) for v, one in samples.items()}
        found[str(factors)] = means
    return found


def swaps(times: Mapping[str, Times], factors: str) -> Swaps:
    """Return which pairs change their order under a set of factors."""
    before, after = times[AS_IT_IS], times[factors]
    pairs = list(combinations(sorted(before, key=before.__getitem__), 2))
    found = [
        (a, b, before[b] / before[a])
        for a, b in pairs
        if before[a] < before[b] and after[a] > after[b]
    ]
    return Swaps(tuple(found), len(pairs))


def sensitivity_lines(table: pd.DataFrame) -> Iterator[str]:
    """Yield per target the order, and a line on it for every set of factors."""
    for target, rows in table.groupby("target", sort=False):
        times = times_s(rows)
        yield f"to {target}: {_ordered(times[AS_IT_IS])}"
        for factors in times:
            if factors != AS_IT_IS:
                yield f"  {factors}: {swaps(times, factors)}"


def range_lines(table: pd.DataFrame) -> Iterator[str]:
    """Yield per target every variant's seconds with the range of the draws, and in how
    many of these the order stays."""
    for target, rows in table.groupby("target", sort=False):
        times = times_s(rows)
        draws = [factors for factors in times if factors != AS_IT_IS]
        yield f"to {target}"
        for variant, found_s in times[AS_IT_IS].items():
            low, high = range_s([times[draw][variant] for draw in draws])
            yield (
                f"  {variant}: {found_s:.4g} s, {COVERAGE:.0%} within {low:.4g} to "
                f"{high:.4g} s"
            )
        if len(times[AS_IT_IS]) > 1:
            yield f"  {survival(times)}"


def survival(times: Mapping[str, Times]) -> str:
    """Return in how many draws the order stays, and what else becomes of it."""
    draws = [factors for factors in times if factors != AS_IT_IS]
    changed = [found for draw in draws if (found := swaps(times, draw)).pairs]
    kept = f"the order stays in {len(draws) - len(changed)} of {len(draws)} draws"
    most = max(changed, key=lambda found: len(found.pairs), default=None)
    return kept if most is None else f"{kept}; else up to {most}"


def range_s(drawn: Sequence[float]) -> tuple[float, float]:
    """Return between which seconds the stated share of draws lies."""
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)


def _ordered(times: Times) -> str:
    ordered = sorted(times.items(), key=lambda one: one[1])
    return " < ".join(f"{name} {found_s:.4g} s" for name, found_s in ordered)
