"""When a run ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, model_validator

from fl.contract import FALLING_METRICS, SHARES, Metric, Score
from netsim.core.clock import to_ns
from netsim.core.quantities import Seconds
from netsim.scenario import Record

MAX_ROUNDS = 1_000_000_000


class Target(Record):
    """A level of a global test metric: at least for shares of right answers, at most
    for loss and perplexity."""

    metric: Metric = "accuracy"
    level: float

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

    def is_met(self, scores: Sequence[Score]) -> bool:
        """Return whether a global score reaches the level."""
        return self.distance(scores) <= 0

    def distance(self, scores: Sequence[Score]) -> float:
        """Return how much the best global score lacks; infinity without any."""
        values = [
            getattr(score, self.metric) for score in scores if score.client_id is None
        ]
        is_falling = self.metric in FALLING_METRICS
        missing = [
            value - self.level if is_falling else self.level - value
            for value in values
            if value is not None
        ]
        return min((lack for lack in missing if not math.isnan(lack)), default=math.inf)


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

    def reason(self, round_id: int, now_ns: int, scores: Sequence[Score]) -> str:
        """Return why the run ends after this round; nothing where it goes on."""
        if self.target is not None and self.target.is_met(scores):
            return "target"
        if self.rounds is not None and round_id >= self.rounds:
            return "rounds"
        if self.time_s is not None and now_ns >= to_ns(self.time_s):
            return "time"
        return ""
