"""Outages of a server, which returns with its last version and nothing else."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Final

import simpy
from pydantic import AfterValidator, Field, model_validator

from netsim.client.participation import Process
from netsim.core.clock import to_ns
from netsim.core.engine import DEADLINES, Wake
from netsim.core.quantities import Seconds
from netsim.core.streams import uniform
from netsim.scenario import Record
from netsim.server.stage import Stage

DOWN: Final = "server-down"  # the status of all that was lost


class Outage(Record):
    """The server is down for ``duration``: once, ``at`` a time, or again and again,
    after exponential times of work of the given mean."""

    at_s: Annotated[Seconds, Field(ge=0)] | None = None
    mean_time_between_s: Annotated[Seconds, Field(gt=0)] | None = None
    duration_s: Annotated[Seconds, Field(gt=0)]

    @model_validator(mode="after")
    def _check_time(self) -> Outage:
        if (self.at_s is None) == (self.mean_time_between_s is None):
            raise ValueError("give `at` or `mean_time_between`, one of the two")
        return self


def _check_order(outages: tuple[Outage, ...]) -> tuple[Outage, ...]:
    if len(outages) > 1 and any(outage.at_s is None for outage in outages):
        raise ValueError("an outage with `mean_time_between` must be the only one")
    for before, after in pairwise(outages):
        assert before.at_s is not None
        assert after.at_s is not None
        end_s = before.at_s + before.duration_s
        if after.at_s <= end_s:
            raise ValueError(
                f"an outage must begin after the one before it has ended, at {end_s:g} "
                f"s, got {after.at_s:g} s"
            )
    return outages


Outages = Annotated[tuple[Outage, ...], AfterValidator(_check_order)]


def spans(outages: Sequence[Outage], seed: int) -> Iterator[tuple[int, int]]:
    """Yield the start and the end of every outage, in ticks."""
    if not outages or outages[0].at_s is not None:
        for outage in outages:
            start_ns = to_ns(outage.at_s or 0.0)
            yield start_ns, start_ns + to_ns(outage.duration_s)
        return
    mean_s, now_ns = outages[0].mean_time_between_s or 0.0, 0
    for number in itertools.count():
        draw = uniform(seed, "server-outage", number)
        start_ns = now_ns + to_ns(-mean_s * math.log1p(-draw))
        now_ns = start_ns + to_ns(outages[0].duration_s)
        yield start_ns, now_ns


class Downtime:
    """Interrupts the server's story at the tick of each outage; the story waits with
    :meth:`over` for its end."""

    def __init__(self, stage: Stage, outages: Sequence[Outage]) -> None:
        self._stage = stage
        self._env = stage.scene.env
        self._up_ns = 0
        story = self._env.active_process
        assert story is not None, "a story is a process"
        if outages:
            self._env.process(self._strike(story, spans(outages, stage.scene.seed)))

    def over(self) -> Process:
        """Wait until the server is up again."""
        self._stage.scene.mark("server down", detail=f"until {self._up_ns} ns")
        yield self._env.timeout(self._up_ns - self._env.now)
        self._stage.scene.mark("server up")

    def _strike(self, story: simpy.Process, ends: Iterator[tuple[int, int]]) -> Process:
        for start_ns, self._up_ns in ends:
            yield Wake(self._env, start_ns - self._env.now, DEADLINES)
            if self._stage.is_over:
                return
            story.interrupt(DOWN)
            yield self._env.timeout(self._up_ns - self._env.now)
