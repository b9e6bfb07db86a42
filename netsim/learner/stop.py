"""When a run ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from fl.contract import FALLING_METRICS, SHARES, Metric, Score
from netsim.core.clock import to_ns
from netsim.core.quantities import Seconds
from netsim.scenario import Record

MAX_ROUNDS = 1_000_000_000
MAX_OVER = 10_000  # evaluations


def smoothed(values: Sequence[float], over: int) -> list[float]:
    """Return for each value the mean of the last ``over`` up to it; NaN where there are
    fewer."""
    return [
        math.fsum(values[end - over : end]) / over if end >= over else math.nan
        for end in range(1, len(values) + 1)
    ]


def met(values: Sequence[float], metric: str, level: float, over: int) -> list[bool]:
    """Return after which evaluations the mean of the last ``over`` is at a level: above
    it, or below it for loss and perplexity."""
    means = smoothed(values, over)
    if metric in FALLING_METRICS:
        return [mean <= level for mean in means]
    return [mean >= level for mean in means]


def is_of(shown: str, split: str) -> bool:
    """Return whether the name of a split in the trace, as ``test[:500]``, is of it."""
    return shown.partition("[")[0] == split


class Target(Record):
    """A level of a global metric: at least for shares of right answers, at most for
    loss and perplexity, by the mean of the last ``over`` evaluations on a split."""

    metric: Metric = "accuracy"
    level: float
    split: Literal["test", "validation"] = "test"
    over: Annotated[int, Field(ge=1, le=MAX_OVER)] = 1

    @model_validator(mode="after")
    def _check_level(self) -> Target:
        if self.metric in SHARES and not 0 <= self.level <= 1:
            raise ValueError(
                f"level of a share of right answers lies in 0 to 1 (90 % is 0.9), "
                f"got {self.level!r}"
            )
        least = 1.0 if self.metric == "perplexity" else 0.0
        if not self.level >= least:
            raise ValueError(
                f"level of {self.metric} cannot be met below {least:g}, "
                f"got {self.level!r}"
            )
        return self

    @property
    def title(self) -> str:
        """Return what people call it, as ``accuracy 0.9``."""
        name = f"{self.metric} {str(self.level).removesuffix('.0')}"
        if self.split != "test":
            name = f"{self.split} {name}"
        return name if self.over == 1 else f"{name} over {self.over} evaluations"

    def met(self, values: Sequence[float]) -> list[bool]:
        """Return after which of a run's evaluations the level is reached."""
        return met(values, self.metric, self.level, self.over)

    def value(self, scores: Sequence[Score]) -> float:
        """Return the best global value of the metric on the split; NaN without any."""
        found = [
            float(value)
            for score in scores
            if score.client_id is None and is_of(score.split, self.split)
            for value in [getattr(score, self.metric)]
            if value is not None and not math.isnan(value)
        ]
        best = min if self.metric in FALLING_METRICS else max
        return best(found, default=math.nan)

    def distance(self, scores: Sequence[Score]) -> float:
        """Return how much the best global score lacks; infinity without any."""
        value = self.value(scores)
        lack = self.level - value
        if math.isnan(lack):
            return math.inf
        return -lack if self.metric in FALLING_METRICS else lack


class Stop(Record):
    """The first of the given limits, looked at when a round ends."""

    rounds: Annotated[int, Field(ge=1, le=MAX_ROUNDS)] | None = None
    time_s: Annotated[Seconds, Field(gt=0)] | None = None
    target: Target | None = None

    @model_validator(mode="after")
    def _check_bound(self) -> Stop:
        if self.rounds is None and self.time_s is None:
            raise ValueError(
                "needs `rounds` or `time`: a target alone may never be met"
            )
        return self

    def reason(self, round_id: int, now_ns: int, *, is_reached: bool) -> str:
        """Return why the run ends after this round, given whether the target is
        reached; nothing where it goes on."""
        if is_reached:
            return "target"
        if self.rounds is not None and round_id >= self.rounds:
            return "rounds"
        if self.time_s is not None and now_ns >= to_ns(self.time_s):
            return "time"
        return ""
