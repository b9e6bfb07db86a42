"""The loop of a server that works in rounds: draw, wait, merge, and late clients."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial

import simpy

from netsim.client.client import serve_cell
from netsim.client.crossing import by_cell
from netsim.client.participation import Participation, Process, arrived, running
from netsim.core.clock import to_ns
from netsim.core.engine import DEADLINES, Wake
from netsim.policy import Sampler
from netsim.server.outages import DOWN, Downtime
from netsim.server.outcome import Outcome, Samplers
from netsim.server.policies.policy import as_given
from netsim.server.round import Round
from netsim.server.round_settings import RoundSettings
from netsim.server.stage import Counts, Stage
from netsim.server.story import RoundTiming
from netsim.trace.literals import EventKind, Status


class RoundLoop:
    """A server's rounds, and the clients that still work for earlier ones."""

    def __init__(
        self,
        stage: Stage,
        settings: RoundSettings,
        timing: RoundTiming,
        *,
        cut: Callable[[Round], simpy.Event] | None = None,
    ) -> None:
        """Note the server's settings; ``cut`` is asked once the clients have started,
        and its event ends the round: merged is what has arrived by that tick."""
        self._stage = stage
        self._scene = stage.scene
        self._env = stage.scene.env
        self._settings = settings
        self._timing = timing
        self._cut = cut
        self._waits_for_all = (
            timing.deadline_s is None
            and settings.merge_first is None
            and cut is None
            and not settings.outages
        )
        self._late: list[Participation] = []  # running, or arrived and not merged yet
        self._news = self._env.event()  # the next end of a task
        self._broadcasts_end = self._env.event()  # when broadcasts are cut
        self._serving: list[simpy.Process] = []  # of cells, also in earlier rounds

    def play(self) -> Process:
        """Run one round after the other, each with the sampler that is due."""
        stage, settings = self._stage, self._settings
        downtime = Downtime(stage, settings.outages)
        samplers = self._samplers()
        sampler = next(samplers)
        for round_id in itertools.count(1):
            round_ = Round(round_id, self._env.now, self._env.event())
            round_.num_first, is_down = settings.merge_first, False
            try:
                yield from self._work(round_, sampler)
            except simpy.Interrupt:
                yield from self._discard_all(round_)
                is_down = True
            outcome = self._close(round_)
            if stage.is_over:
                break
            if is_down:
                yield from downtime.over()
            sampler = samplers.send(outcome)
        yield from self._stop_late()

    def _samplers(self) -> Samplers:
        if self._stage.samplers is not None:
            return self._stage.samplers(self._stage)
        assert self._settings.sampling is not None, "a policy or `sampling` draws"
        return as_given(self._stage, self._settings.sampling)

    def _work(self, round_: Round, sampler: Sampler) -> Process:
        """Run a round up to its merge; ``round_.merged`` is what there is to merge."""
        stage, timing, env = self._stage, self._timing, self._env
        is_anyone = yield from self._scene.attendance.wait_for_any()
        round_.is_deserted = not is_anyone
        if round_.is_deserted:
            return
        round_.start_ns = env.now
        if timing.deadline_s is not None:
            round_.limit = Wake(env, to_ns(timing.deadline_s), DEADLINES)
        if timing.announce_s:
            yield env.timeout(to_ns(timing.announce_s))
        drawn = stage.participants.draw(sampler, round_.round_id, stage.version)
        weights = zip(drawn.client_ids, drawn.weights, strict=True)
        round_.parts = stage.participants.enlist_drawn(
            round_.round_id,
            stage.version,
            [(one, weight * self._presence_factor(one)) for one, weight in weights],
            busy={part.client_id for part in running(self._late)},
        )
        yield from self._gather(round_)
        yield from self._sort(round_)
        if round_.merged and timing.merge_s:
            yield env.timeout(to_ns(timing.merge_s))

    def _presence_factor(self, client_id: int) -> float:
        """Return the factor on a weight that corrects for a client's absence."""
        if not self._settings.corrects_presence:
            return 1.0
        availability = self._scene.population.config.availability
        return 1.0 / availability.share(client_id)

    def _gather(self, round_: Round) -> Process:
        """Wait until all tasks have ended, for the deadline, or for enough updates."""
        env, groups = self._env, by_cell(self._scene, round_.parts)
        serve = self._server_of(round_)
        if groups:
            cells = [serve(parts) for _, parts in groups]
        else:
            cells = [self._serve_late(serve([]))]
        round_.serving = [env.process(cell) for cell in cells]
        self._serving = [one for one in self._serving if one.is_alive] + round_.serving
        ends: list[simpy.Event] = [env.all_of(round_.serving), round_.enough]
        if round_.limit is not None:
            ends.append(round_.limit)
        if self._cut is not None:
            ends.append(self._cut(round_))
        yield env.any_of(ends)
        if round_.num_first is not None or round_.is_late or self._cut is not None:
            yield from self._end_tick()

    def _server_of(self, round_: Round) -> Callable[[Sequence[Participation]], Process]:
        """Return the process that serves the participants of one cell."""
        keeps_late = bool(round_.parts) and self._settings.late == "next-round"
        ends: list[simpy.Event] = [self._broadcasts_end]
        if round_.limit is not None and not keeps_late:
            ends.append(round_.limit)
        participants, version = self._stage.participants, self._stage.version
        return partial(
            serve_cell,
            self._scene,
            missing=participants.missing(round_.round_id, version),
            ends=ends,
            at_end=partial(self._note_end, round_),
            waits_for_all=self._waits_for_all,
        )

    def _serve_late(self, broadcast: Process) -> Process:
        """Send a broadcast without receivers, then wait for the next late client."""
        yield from broadcast
        if running(self._late) and not arrived(self._late):
            yield self._news

    def _end_tick(self) -> Process:
        """Wait for the end of this tick.

        An update that arrives at the tick of the deadline, or of the last of the first
        arrivals, is in time whichever event came first; so this waits at the priority
        ``DEADLINES``, after all bands have ended what is due.
        """
        yield Wake(self._env, 0, DEADLINES)

    def _note_end(self, round_: Round, part: Participation) -> None:
        """Count an arrival, and wake what waits for the end of a task."""
        round_.note_end(part)
        if self._news.callbacks:  # of who waits for it
            self._news.succeed()
            self._news = self._env.event()

    def _sort(self, round_: Round) -> Process:
        """Choose the updates to merge; cut the other tasks, or keep them as late."""
        in_order, late_now = round_.arrivals(), arrived(self._late)
        in_time = in_order[: round_.num_first]
        others = in_order[len(in_time) :] + running(round_.parts)
        num_late = len(others) + sum(part.status == "late" for part in round_.parts)
        if self._settings.late == "next-round":
            self._keep(others)
        else:
            yield from self._drop(round_, others)
        if num_late:
            kind: EventKind = "deadline" if round_.is_late else "enough"
            detail = f"{num_late} late"
            self._scene.mark(kind, round_id=round_.round_id, detail=detail)
        round_.choose(in_time, late_now, self._settings)

    def _drop(self, round_: Round, parts: Sequence[Participation]) -> Process:
        """End the tasks that are not in time, and the broadcasts to them."""
        cut_as: Status = "late" if round_.is_late else "surplus"
        yield from self._stage.participants.end_all(
            parts, cut_as=cut_as, discard_as="surplus"
        )
        if any(process.is_alive for process in round_.serving):
            self._cut_broadcasts()
            yield from self._end_tick()

    def _keep(self, parts: Sequence[Participation]) -> None:
        """Let tasks go on beyond their round; their clients wait for the server no
        longer."""
        for part in parts:
            part.waits_for_release = False
            if part.end_ns is not None:
                self._scene.attendance.release(part)
        self._late += parts

    def _close(self, round_: Round) -> Outcome:
        """Merge what arrived, record tasks that are over, and return the outcome."""
        stage, merged = self._stage, round_.merged
        made = stage.merge(round_.round_id, merged)
        stage.participants.note(merged, made)
        taken = {part.task_id for part in merged}
        involved, self._late, num_dropped = self._involved(round_), [], 0
        for part in involved:
            if part.task_id in taken and part.status == "done":
                stage.participants.record(part, merged_round_id=round_.round_id)
            elif part.status is None or part.status == "done":
                self._late.append(part)
            else:
                stage.participants.record(part)
                num_dropped += 1
        scores = stage.end_round(
            round_.round_id,
            round_.start_ns,
            Counts(len(round_.parts), len(arrived(merged)), num_dropped),
            is_deserted=round_.is_deserted,
        )
        norms2 = made.norms2 or [None] * len(merged)
        return Outcome(merged, norms2, scores, made.sum_norm2, made.losses)

    def _involved(self, round_: Round) -> list[Participation]:
        """Return the late participations and the round's own, each once."""
        both = (*self._late, *round_.parts)
        return list({part.task_id: part for part in both}.values())

    def _discard_all(self, round_: Round) -> Process:
        """Give up all tasks and updates that are not merged: the server is down."""
        round_.merged = []
        self._cut_broadcasts()
        yield from self._stage.participants.end_all(
            self._involved(round_), cut_as=DOWN, discard_as=DOWN
        )
        yield from self._end_tick()

    def _stop_late(self) -> Process:
        """Cut the tasks and broadcasts under way at the end of the run, and record
        them."""
        late = sorted(self._late, key=lambda part: part.task_id)
        if late:
            self._scene.mark("dismissed", detail=f"{len(late)} under way")
        elif not any(process.is_alive for process in self._serving):
            return
        self._cut_broadcasts()
        yield from self._stage.participants.end_all(
            late, cut_as="unfinished", discard_as="unmerged"
        )
        yield from self._end_tick()
        for part in late:
            self._stage.participants.record(part)

    def _cut_broadcasts(self) -> None:
        """End the broadcasts under way at this tick."""
        self._broadcasts_end.succeed()
        self._broadcasts_end = self._env.event()
