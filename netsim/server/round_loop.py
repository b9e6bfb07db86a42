"""How rounds go on, one after the other: who takes part, who is merged, who is late."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import simpy

from netsim.client.broadcast import broadcast
from netsim.client.cells import in_every_cell
from netsim.client.participation import Participation, Process
from netsim.client.reservation import reserve
from netsim.core.clock import to_ns
from netsim.core.engine import DEADLINES, Wake
from netsim.core.streams import stream
from netsim.policy import Sampler
from netsim.server.outages import DOWN, Downtime
from netsim.server.policies.policy import Outcome
from netsim.server.round_settings import Manners
from netsim.server.round_timing import RoundTiming
from netsim.server.stage import Stage
from netsim.trace.literals import EventKind, Status


@dataclass(slots=True)
class Turn:
    """One round: who takes part, and who of all is merged at its end."""

    round_id: int
    start_ns: int
    enough: simpy.Event  # so many have arrived as are merged
    first: int | None = None  # how many these are
    limit: Wake | None = None
    serving: simpy.Process | None = None
    parts: list[Participation] = field(default_factory=list)
    arrived: list[Participation] = field(default_factory=list)
    num_arrived: int = 0
    is_deserted: bool = False

    @property
    def is_late(self) -> bool:
        """Return whether the limit is over."""
        return self.limit is not None and self.limit.processed

    def note_end(self, part: Participation) -> None:
        """Count an arrival."""
        self.num_arrived += part.status == "done"
        if self.num_arrived == self.first and not self.enough.triggered:
            self.enough.succeed()


class Turns:
    """A server's rounds, and who is still at work for those that are over."""

    def __init__(self, stage: Stage, manners: Manners, timing: RoundTiming) -> None:
        self._stage = stage
        self._manners = manners
        self._timing = timing
        self._late: list[Participation] = []  # at work, or arrived and not merged yet
        self._news = stage.env.event()  # somebody's work is over, well or not

    def play(self) -> Process:
        """Run one round after the other, each with who the run's course draws."""
        stage, manners = self._stage, self._manners
        downtime = Downtime(stage, manners.outages)
        course = stage.course(manners.sampling)
        sampler = next(course)
        for round_id in itertools.count(1):
            turn = Turn(round_id, stage.env.now, stage.env.event())
            turn.first, is_down = manners.merge_first, False
            try:
                yield from self._work(turn, sampler)
            except simpy.Interrupt:
                yield from self._lose_all(turn)
                is_down = True
            outcome = self._close(turn)
            if stage.is_over:
                break
            if is_down:
                yield from downtime.over()
            sampler = course.send(outcome)
        yield from self._dismiss()

    def _work(self, turn: Turn, sampler: Sampler) -> Process:
        """Let a round come to its end; its turn tells what there is to merge then."""
        stage, timing = self._stage, self._timing
        turn.is_deserted = not (yield from stage.attendance.somebody())
        if turn.is_deserted:
            return
        turn.start_ns = stage.env.now
        if timing.deadline_s is not None:
            turn.limit = Wake(stage.env, to_ns(timing.deadline_s), DEADLINES)
        if timing.announce_s:
            yield stage.env.timeout(to_ns(timing.announce_s))
        turn.parts = self._enlist(turn.round_id, sampler)
        yield from self._gather(turn)
        yield from self._sort_out(turn)
        if turn.arrived and timing.merge_s:
            yield stage.env.timeout(to_ns(timing.merge_s))

    def _enlist(self, round_id: int, sampler: Sampler) -> list[Participation]:
        """Return those drawn who are there and idle, at work from now on."""
        stage = self._stage
        rng = stream(stage.seed, "sampling", round_id)
        drawn = sampler.draw(stage.population.data_weights, rng)
        busy = {part.client_id for part in self._late if part.status == "running"}
        chosen = [
            (client_id, weight * self._presence_factor(client_id))
            for client_id, weight in zip(drawn.client_ids, drawn.weights, strict=True)
            if client_id not in busy and stage.attendance.is_here(client_id)
        ]
        num_missing = len(drawn.client_ids) - len(chosen)
        if num_missing:
            detail = f"{num_missing} of {len(drawn.client_ids)} drawn"
            stage.mark("away or busy", round_id=round_id, detail=detail)
        if not chosen:
            stage.mark("empty round", round_id=round_id)
        return [stage.enlist(client_id, round_id, w) for client_id, w in chosen]

    def _presence_factor(self, client_id: int) -> float:
        """Return what a weight is multiplied by for the time that a client is away."""
        if not self._manners.corrects_presence:
            return 1.0
        return 1.0 / self._stage.population.config.availability.share(client_id)

    def _gather(self, turn: Turn) -> Process:
        """Wait until everybody has played its part, until the limit, or until enough
        are there."""
        env = self._stage.env
        turn.serving = env.process(
            in_every_cell(self._stage, turn.parts, lambda own: self._serve(turn, own))
        )
        ends: list[simpy.Event] = [turn.serving, turn.enough]
        if turn.limit is not None:
            ends.append(turn.limit)
        yield env.any_of(ends)
        if turn.first is not None or turn.is_late:
            yield from self._end_tick()

    def _end_tick(self) -> Process:
        """Wait until all that ends at this tick has ended."""
        yield Wake(self._stage.env, 0, DEADLINES)

    def _serve(self, turn: Turn, parts: Sequence[Participation]) -> Process:
        """Send the version to one cell's clients, and let them play their parts."""
        stage = self._stage

        def note_end(part: Participation) -> None:
            turn.note_end(part)
            self._tell()

        goes_on = bool(parts) and self._manners.late == "next-round"
        limit = None if goes_on else turn.limit
        yield from broadcast(stage, turn.round_id, parts, limit)
        waiting = _with_status(parts, "running")
        if len(waiting) < len(parts):
            self._tell()
        terms = reserve(stage, waiting)
        for part in waiting:
            stage.start(part, terms.get(part.client_id), note_end)
        yield self._next_late() if not parts else stage.env.all_of(_processes(waiting))

    def _next_late(self) -> simpy.Event:
        """Return what there is to wait for where nobody takes part."""
        env, late = self._stage.env, _with_status(self._late, "running")
        if not late or _with_status(self._late, "done"):
            return env.all_of([])
        return self._news

    def _tell(self) -> None:
        """Let those know who wait for the end of somebody's work."""
        self._news.succeed()
        self._news = self._stage.env.event()

    def _sort_out(self, turn: Turn) -> Process:
        """Find who is merged; cut off the others, or let them go on."""
        stage = self._stage
        arrived = sorted(_with_status(turn.parts, "done"), key=_arrival)
        in_time, surplus = arrived[: turn.first], arrived[turn.first or len(arrived) :]
        late_now = _with_status(self._late, "done")
        others = surplus + _with_status(turn.parts, "running")
        num_late = len(others) + len(_with_status(turn.parts, "late"))
        if self._manners.late == "next-round":
            self._keep(others)
        else:
            yield from self._drop(turn, others)
        if num_late:
            kind: EventKind = "deadline" if turn.is_late else "enough"
            stage.mark(kind, round_id=turn.round_id, detail=f"{num_late} late")
        turn.arrived = sorted(late_now + in_time, key=_place)
        self._weigh(turn, len(in_time))

    def _drop(self, turn: Turn, parts: Sequence[Participation]) -> Process:
        """Cut off who is not in time, and the broadcasts that are for nobody else."""
        running: Status = "late" if turn.is_late else "surplus"
        yield from _end_all(self._stage, parts, running=running, arrived="surplus")
        if turn.serving is not None and turn.serving.is_alive:
            self._stage.hush()
            yield from self._end_tick()

    def _weigh(self, turn: Turn, num_in_time: int) -> None:
        """Discount the late, or make up for those who were cut off."""
        manners = self._manners
        for part in turn.arrived:
            assert part.weight is not None
            staleness = turn.round_id - part.round_id
            if staleness and manners.staleness_exponent:
                part.weight *= (1 + staleness) ** -manners.staleness_exponent
            if manners.corrects_arrivals:
                part.weight *= len(turn.parts) / num_in_time

    def _keep(self, parts: Sequence[Participation]) -> None:
        """Let parts go on beyond their round; none waits for the server any more."""
        for part in parts:
            part.waits = False
            if part.end_ns is not None:
                self._stage.attendance.release(part)
        self._late += parts

    def _close(self, turn: Turn) -> Outcome:
        """Merge what arrived, write down what is over, and return what it showed."""
        stage, merged = self._stage, turn.arrived
        norms2 = stage.merge(turn.round_id, merged)
        taken = {part.task_id for part in merged}
        involved = {part.task_id: part for part in (*self._late, *turn.parts)}
        self._late, num_dropped = [], 0
        for part in involved.values():
            if part.task_id in taken and part.status == "done":
                stage.record(part, merged_round_id=turn.round_id)
            elif part.status in ("running", "done"):
                self._late.append(part)
            else:
                stage.record(part)
                num_dropped += 1
        scores = stage.end_round(
            turn.round_id,
            turn.start_ns,
            num_sampled=len(turn.parts),
            num_merged=len(_with_status(merged, "done")),  # others diverged
            num_dropped=num_dropped,
            is_deserted=turn.is_deserted,
        )
        return Outcome(merged, norms2, scores)

    def _lose_all(self, turn: Turn) -> Process:
        """Give up all that is not merged: the server is dead."""
        parts = {part.task_id: part for part in (*self._late, *turn.parts)}.values()
        turn.arrived = []
        self._stage.hush()
        yield from _end_all(self._stage, list(parts), running=DOWN, arrived=DOWN)
        yield from self._end_tick()

    def _dismiss(self) -> Process:
        """Cut off everybody who is still at work, and record what was lost."""
        late = sorted(self._late, key=lambda part: part.task_id)
        if not late:
            return
        self._stage.mark("dismissed", detail=f"{len(late)} under way")
        self._stage.hush()
        yield from _end_all(self._stage, late, running="unfinished", arrived="unmerged")
        yield from self._end_tick()
        for part in late:
            self._stage.record(part)


def _end_all(
    stage: Stage, parts: Sequence[Participation], *, running: Status, arrived: Status
) -> Process:
    """End parts for a reason, at this tick, be they under way or arrived."""
    for part in _with_status(parts, "done"):
        stage.lose(part, arrived)
    cut = _with_status(parts, "running")
    for part in cut:
        stage.cut(part, running)
    if cut:
        yield stage.env.all_of(_processes(cut))


def _with_status(parts: Iterable[Participation], status: str) -> list[Participation]:
    return [part for part in parts if part.status == status]


def _processes(parts: Iterable[Participation]) -> list[simpy.Event]:
    return [part.process for part in parts if part.process is not None]


def _arrival(part: Participation) -> tuple[int, int]:
    assert part.end_ns is not None
    return part.end_ns, part.client_id


def _place(part: Participation) -> tuple[int, int]:
    return part.client_id, part.start_index
