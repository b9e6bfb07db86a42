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
Times: TypeAlias = Mapping[str, Sample]  # seconds by variant


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


def times(table: pd.DataFrame) -> dict[str, Times]:
    """Return the seconds of all seeds by set of factors and variant, of one target."""
    found: dict[str, Times] = {}
    for factors, rows in table.groupby("factors", sort=False):
        found[str(factors)] = {
            str(variant): Sample(
                own["time_ns"].to_numpy(np.float64) / 1e9,
                own["is_reached"].to_numpy(bool),
            )
            for variant, own in rows.groupby("variant", sort=False)
        }
    return found


def swaps(of_sets: Mapping[str, Times], factors: str) -> Swaps:
    """Return which pairs change their order under a set of factors."""
    before, after = of_sets[AS_IT_IS], of_sets[factors]
    found = []
    for a, b in combinations(sorted(before, key=lambda name: _mean_s(before[name])), 2):
        first, second = _ratio(before[a], before[b]), _ratio(after[a], after[b])
        if (first - 1) * (second - 1) < 0:
            pair = (a, b) if first < 1 else (b, a)
            found.append((*pair, max(first, 1 / first)))
    return Swaps(tuple(found), len(before) * (len(before) - 1) // 2)


def _ratio(one: Sample, other: Sample) -> float:
    """Return the ratio of two means, within the time that both were watched for."""
    until = horizon(one, other)
    below = restricted_mean(other, until)
    return restricted_mean(one, until) / below if below else 1.0


def _mean_s(sample: Sample) -> float:
    return float(sample.values.mean())


def sensitivity_lines(
    table: pd.DataFrame, baselines: Mapping[str, str]
) -> Iterator[str]:
    """Yield the order of the variants that are compared with one baseline, per target
    and baseline, and a line on it for every set of factors."""
    for title, of_sets in _compared(table, baselines):
        yield f"{title}: {_ordered(of_sets[AS_IT_IS])}"
        for factors in of_sets:
            if factors != AS_IT_IS:
                yield f"  {factors}: {swaps(of_sets, factors)}"


def range_lines(table: pd.DataFrame, baselines: Mapping[str, str]) -> Iterator[str]:
    """Yield every variant's seconds with the range of the draws, and in how many of
    these the order stays, per target and baseline."""
    for title, of_sets in _compared(table, baselines):
        draws = [factors for factors in of_sets if factors != AS_IT_IS]
        yield title
        for variant, found in of_sets[AS_IT_IS].items():
            low, high = range_s([_mean_s(of_sets[draw][variant]) for draw in draws])
            yield (
                f"  {variant}: {_shown(found)}, {COVERAGE:.0%} within {low:.4g} to "
                f"{high:.4g} s"
            )
        if len(of_sets[AS_IT_IS]) > 1:
            yield f"  {survival(of_sets)}"


def _compared(
    table: pd.DataFrame, baselines: Mapping[str, str]
) -> Iterator[tuple[str, dict[str, Times]]]:
    """Yield the times of all variants that are compared with each other: of one target
    and one baseline."""
    for target, rows in table.groupby("target", sort=False):
        groups = rows.groupby(rows["variant"].map(dict(baselines)), sort=False)
        for baseline, group in groups:
            more = f", compared with {baseline}" if len(groups) > 1 else ""
            yield f"to {target}{more}", times(group)


def survival(of_sets: Mapping[str, Times]) -> str:
    """Return in how many draws the order stays, and what else becomes of it."""
    draws = [factors for factors in of_sets if factors != AS_IT_IS]
    changed = [found for draw in draws if (found := swaps(of_sets, draw)).pairs]
    kept = f"the order stays in {len(draws) - len(changed)} of {len(draws)} draws"
    most = max(changed, key=lambda found: len(found.pairs), default=None)
    return kept if most is None else f"{kept}; else up to {most}"


def range_s(drawn: Sequence[float]) -> tuple[float, float]:
    """Return between which seconds the stated share of draws lies."""
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)


def _ordered(of_variants: Times) -> str:
    ordered = sorted(of_variants.items(), key=lambda one: _mean_s(one[1]))
    return " < ".join(f"{name} {_shown(found)}" for name, found in ordered)


def _shown(found: Sample) -> str:
    """Return a mean; it is a bound where a seed has not met the target."""
    bound = "" if found.is_known.all() else "over "
    return f"{bound}{_mean_s(found):.4g} s"
