"""When the global adapter is evaluated, and on which clients' own data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field, model_validator

from fl.contract import Score
from netsim.core.clock import to_ns
from netsim.core.quantities import Seconds
from netsim.errors import InputError
from netsim.learner.stop import Target
from netsim.scenario import Record

MAX_MARKS = 100_000  # between two versions
ROUND_OFF = 1e-12


class Examined(Record):
    """Whose own adapter is compared with the global one, every how many rounds.

    Of those who arrived, ``count`` are drawn or those among ``ids`` are taken; without
    either it is all of them.
    """

    every: int = Field(default=1, ge=1)
    count: int | None = Field(default=None, ge=1)
    ids: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        default=None, min_length=1
    )

    @model_validator(mode="after")
    def _check_one_choice(self) -> Examined:
        if self.count is not None and self.ids is not None:
            raise ValueError("give `count` or `ids`: both choose the clients")
        if self.ids is not None and len(set(self.ids)) < len(self.ids):
            raise ValueError(f"ids must be different, got {list(self.ids)}")
        return self

    def chosen(self, arrived: Sequence[int], rng: np.random.Generator) -> set[int]:
        """Return the clients to examine of those who arrived."""
        clients = sorted(set(arrived))
        if self.ids is not None:
            return set(clients) & set(self.ids)
        if self.count is None or self.count >= len(clients):
            return set(clients)
        return set(rng.choice(clients, self.count, replace=False).tolist())


def _usual_every(fields: Mapping[str, Any]) -> int | None:
    return 1 if fields.get("at_s") is None else None


class EvaluationSchedule(Record):
    """When the global adapter is evaluated, besides its first and final version.

    ``at`` is a span of simulated time: at each multiple of it the version in force.
    ``every`` is in rounds: 1, unless ``at`` is given and it is not. ``near`` evaluates
    every round once the metric of ``stop.target`` was so close to its level. A target
    is met at an evaluation only, and ends the run with the round.
    """

    at_s: Annotated[Seconds, Field(ge=1e-3)] | None = None
    every: Annotated[int, Field(ge=1)] | None = Field(default_factory=_usual_every)
    near: Annotated[float, Field(gt=0)] | None = None
    clients: Examined | None = None
    updates: bool = False  # each merged update's loss and norm: the table ``updates``

    @model_validator(mode="after")
    def _check_near(self) -> EvaluationSchedule:
        if self.near is None:
            return self
        if self.every == 1:
            raise ValueError(
                "near adds nothing to an evaluation every round: leave it out, or set "
                "`every` to more"
            )
        if self.every is None and self.at_s is None:
            raise ValueError("near needs `every` or `at`, to see how close it is")
        return self

    def examines(self, round_id: int) -> Examined | None:
        """Return whose own adapters are looked at in this round, if any are."""
        is_due = self.clients is not None and round_id % self.clients.every == 0
        return self.clients if is_due else None

    def is_near(self, target: Target | None, scores: Sequence[Score]) -> bool:
        """Return whether a target is close enough for an evaluation every round."""
        if target is None or self.near is None:
            return False
        return target.distance(scores) <= self.near + ROUND_OFF


@dataclass
class Marks:
    """The marks of the simulated clock that were looked at so far."""

    num_passed: int = 0

    def passed(self, schedule: EvaluationSchedule, now_ns: int) -> Iterator[int]:
        """Yield the ticks of the marks before now that were not looked at yet."""
        if schedule.at_s is None:
            return
        span_ns = to_ns(schedule.at_s)
        last = (now_ns - 1) // span_ns if now_ns else 0
        if last - self.num_passed > MAX_MARKS:
            raise InputError(
                f"learning.evaluation.at: {last - self.num_passed} marks lie between "
                f"two versions, more than {MAX_MARKS}; make it longer"
            )
        while self.num_passed < last:
            self.num_passed += 1
            yield self.num_passed * span_ns
