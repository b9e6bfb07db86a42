"""The answer of a run: whether and when its target was met, and the best by then."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fl.contract import FALLING_METRICS, Metric
from netsim.core.quantities import format_duration_ns
from netsim.learner.stop import Target, is_of, smoothed
from netsim.runs.run import stream_rows
from netsim.trace.rows import Evaluation


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A value of a metric, and the round and time at which it was found."""

    metric: Metric
    value: float
    round_id: int
    time_ns: int

    @property
    def when(self) -> str:
        """Return round and time, in words."""
        return f"in round {self.round_id}, after {format_duration_ns(self.time_ns)}"

    def __str__(self) -> str:
        return f"{self.metric} {self.value:.4g} {self.when}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The level that met the target, if one did, and the best of all; means of several
    evaluations where the target is over these."""

    target: Target | None
    met: Level | None
    best: Level | None

    def __str__(self) -> str:
        best = "nothing was evaluated" if self.best is None else f"best: {self.best}"
        if self.target is None:
            return best
        met = "not met" if self.met is None else f"met {self.met.when}"
        return f"target {self.target.title} {met}; {best}"


def answer(folder: Path, target: Target | None) -> Answer:
    """Return the answer of the run in a folder; without a target, its best accuracy."""
    levels = _levels(folder, target or Target(level=0.0))
    hits = [] if target is None else target.met([level.value for level in levels])
    if target is not None:
        levels = _means(levels, target.over)
    known = [level for level in levels if not math.isnan(level.value)]
    is_falling = bool(known) and known[0].metric in FALLING_METRICS
    return Answer(
        target=target,
        met=next((one for one, hit in zip(levels, hits, strict=False) if hit), None),
        best=(min if is_falling else max)(
            known, key=lambda one: one.value, default=None
        ),
    )


def _levels(folder: Path, target: Target) -> list[Level]:
    """Return the target's metric of each global evaluation after pilots, by time."""
    rows = sorted(
        (
            row
            for row in stream_rows(folder, Evaluation)
            if row.client_id is None and row.phase != "pilot"
            if is_of(row.split, target.split)
        ),
        key=lambda row: (row.time_ns, row.round_id),
    )
    return [
        Level(
            metric=target.metric,
            value=math.nan if value is None else float(value),
            round_id=row.round_id,
            time_ns=row.time_ns,
        )
        for row in rows
        for value in [getattr(row, target.metric)]
    ]


def _means(levels: Sequence[Level], over: int) -> list[Level]:
    """Return each level with the mean of the last ``over`` for its value."""
    means = smoothed([level.value for level in levels], over)
    return [
        replace(level, value=mean) for level, mean in zip(levels, means, strict=True)
    ]
