"""The story of a server that works in rounds, patient or with a deadline."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Sequence
from typing import Annotated, Literal

import simpy
from pydantic import Field, model_validator

from netsim.clock import to_ns
from netsim.engine import DEADLINES, Wake
from netsim.policy import SAMPLERS, Drawn, Sampler
from netsim.protocol.broadcast import broadcast
from netsim.protocol.cells import in_every_cell
from netsim.protocol.course import Outcome
from netsim.protocol.participation import Participation, Process, take_part, task_row
from netsim.protocol.round_timing import RoundTiming
from netsim.protocol.stage import Stage
from netsim.quantities import Seconds
from netsim.scenario import OneOf, Record
from netsim.streams import stream

DrawnBy = Annotated[Sampler, OneOf(SAMPLERS)]
Duration = Annotated[Seconds, Field(ge=0)]


class Synchronous(Record):
    """Waits for every drawn client, then merges.

    ``announce_time`` precedes every round, ``merge_time`` every merge; zero is free of
    charge only because the scenario says so. Without ``sampling`` a policy decides it.
    """

    kind: Literal["synchronous"] = "synchronous"
    sampling: DrawnBy | None = None
    announce_time_s: Duration
    merge_time_s: Duration

    @property
    def round_timing(self) -> RoundTiming:
        return RoundTiming(self.announce_time_s, self.merge_time_s)

    def play(self, stage: Stage) -> Process:
        """Run rounds until the run is over."""
        return _play(stage, self.sampling, self.round_timing)


class Deadline(Record):
    """Merges when all have arrived, or when the deadline, counted from the round's
    start, is over: who is late is cut off at that very tick and its work is lost."""

    kind: Literal["deadline"] = "deadline"
    sampling: DrawnBy | None = None
    deadline_s: Annotated[Seconds, Field(gt=0)]
    announce_time_s: Duration
    merge_time_s: Duration

    @model_validator(mode="after")
    def _leaves_time(self) -> Deadline:
        if self.deadline_s <= self.announce_time_s:
            raise ValueError(
                f"deadline must exceed announce_time ({self.announce_time_s:g} s), "
                f"got {self.deadline_s:g} s"
            )
        return self

    @property
    def round_timing(self) -> RoundTiming:
        return RoundTiming(self.announce_time_s, self.merge_time_s, self.deadline_s)

    def play(self, stage: Stage) -> Process:
        """Run rounds until the run is over."""
        return _play(stage, self.sampling, self.round_timing)


def _play(stage: Stage, sampling: Sampler | None, timing: RoundTiming) -> Process:
    """Run one round after the other, each with who the course of the run draws."""
    course = stage.course(sampling)
    sampler = next(course)
    for round_id in itertools.count(1):
        outcome = yield from _round(stage, round_id, sampler, timing)
        if stage.is_over:
            return
        sampler = course.send(outcome)


def _round(
    stage: Stage, round_id: int, sampler: Sampler, timing: RoundTiming
) -> Generator[simpy.Event, object, Outcome]:
    """Run a round and return what it showed."""
    env, start_ns = stage.env, stage.env.now
    limit = None if timing.deadline_s is None else _limit(stage, timing.deadline_s)
    if timing.announce_s:
        yield env.timeout(to_ns(timing.announce_s))
    rng = stream(stage.seed, "sampling", round_id)
    drawn = sampler.draw(stage.population.data_weights, rng)
    parts = _enlist(stage, round_id, drawn)
    if not parts:
        stage.mark("empty round", round_id=round_id)
    yield from in_every_cell(
        stage, parts, lambda own: _serve(stage, round_id, own, limit)
    )
    late = sum(part.status == "late" for part in parts)
    if late:
        stage.mark("deadline", round_id=round_id, detail=f"{late} late")
    arrived = [part for part in parts if part.status == "done"]
    if arrived and timing.merge_s:
        yield env.timeout(to_ns(timing.merge_s))
    norms2 = stage.merge(round_id, arrived)
    num_merged = sum(part.status == "done" for part in arrived)
    _record(stage, round_id, parts)
    scores = stage.end_round(
        round_id,
        start_ns,
        num_sampled=len(parts),
        num_merged=num_merged,
        num_dropped=len(parts) - num_merged,
    )
    return Outcome(arrived, norms2, scores)


def _serve(
    stage: Stage, round_id: int, parts: Sequence[Participation], limit: Wake | None
) -> Process:
    """Send the version to one cell's participants, and let them play their parts."""
    yield from broadcast(stage, round_id, parts, limit)
    yield from _gather(stage, parts, limit)


def _record(stage: Stage, round_id: int, parts: Sequence[Participation]) -> None:
    """Write everybody's part in a round that is over."""
    for part in parts:
        is_merged = part.status == "done"
        row = task_row(
            stage,
            part,
            stage.env.now,
            merged_round_id=round_id if is_merged else None,
            staleness=0 if is_merged else None,
        )
        stage.recorder.tasks.append(row)


def _enlist(stage: Stage, round_id: int, drawn: Drawn) -> list[Participation]:
    return [
        stage.enlist(client_id, round_id, weight)
        for client_id, weight in zip(drawn.client_ids, drawn.weights, strict=True)
    ]


def _limit(stage: Stage, deadline_s: float) -> Wake:
    return Wake(stage.env, to_ns(deadline_s), DEADLINES)


def _gather(
    stage: Stage, parts: Sequence[Participation], limit: Wake | None
) -> Process:
    """Let every participant play its part, until the limit if there is one."""
    waiting = [part for part in parts if part.status == "running"]
    terms = stage.reserve(waiting)
    processes = [
        stage.env.process(take_part(stage, part, terms.get(part.client_id)))
        for part in waiting
    ]
    if limit is not None:
        yield stage.env.all_of(processes) | limit
        for process in processes:
            if process.is_alive:
                process.interrupt("late")
    yield stage.env.all_of(processes)
