"""The loop of a server that is an app: it runs at once, then waits for letters."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import cast

import simpy

from fl.contract import Letter, Pause
from netsim.client.client import serve_cell, take_part
from netsim.client.crossing import by_cell
from netsim.client.participation import Participation, Process, arrived
from netsim.core.clock import to_ns
from netsim.core.engine import DEADLINES, Wake
from netsim.errors import InputError
from netsim.learner.app import App
from netsim.server.stage import Counts, Stage

MAX_IDLE_WAITS = 100_000
AWAY = "away"


class AppLoop:
    """An app's letters, and the clients that are at them."""

    def __init__(self, stage: Stage, merge_time_s: float) -> None:
        self._stage = stage
        self._scene = stage.scene
        self._env = stage.scene.env
        self._merge_ns = to_ns(merge_time_s)
        self._round_id, self._start_ns = 1, self._env.now
        self._counts = Counts(0, 0, 0)
        self._sent: list[Sequence[Letter]] = []  # not started yet
        self._queues: dict[int, deque[Letter]] = {}  # of clients that are busy
        self._parts: dict[str, Participation] = {}  # not taken yet
        self._ends: dict[str, simpy.Event] = {}  # of letters
        self._outcomes: dict[str, tuple[int, str]] = {}
        self._taken: list[str] = []
        self._has_given_up = False
        self._num_idle = 0
        self._broadcasts_end = self._env.event()  # when broadcasts are cut
        self._is_stopped = False

    # what the app asks

    @property
    def now_ns(self) -> int:
        """Return the present tick; for an app with replies, that when it has merged."""
        return self._env.now + (self._merge_ns if self._taken else 0)

    def present(self) -> Sequence[int]:
        """Return the clients that are there now."""
        is_there = self._scene.attendance.is_available
        return [n for n in range(len(self._scene.population)) if is_there(n)]

    def send(self, letters: Sequence[Letter]) -> None:
        """Send letters at this tick, once the round that ends now is written."""
        self._sent.append(letters)
        for letter in letters:
            self._ends[letter.ticket] = self._env.event()

    def outcome(self, ticket: str) -> tuple[int, str] | None:
        """Return when a letter was over and how; None while it is under way."""
        return self._outcomes.get(ticket)

    def take(self, tickets: Sequence[str]) -> None:
        """Note that the app has received how letters were over."""
        self._taken += tickets

    def give_up(self, tickets: Sequence[str]) -> None:
        """Note that the app waits no longer for letters."""
        self._has_given_up |= bool(tickets)

    # what comes of it

    def play(self) -> Process:
        """Run until the app, or the run, is over."""
        stage, app = self._stage, cast(App, self._scene.learner)
        pause = app.resume(self)
        stage.begin([None] * len(self._scene.population))
        while pause is not None and not stage.is_over:
            self._require_progress()
            self._start_sent()
            yield from self._wait(pause)
            pause = app.resume(self)
            yield from self._take_up(is_last=pause is None)
        if not stage.is_over:
            self._scene.mark("stop", round_id=stage.last_round_id, detail="app")
        yield from self._stop()

    def _wait(self, pause: Pause) -> Process:
        """Wait until letters are over, or for a tick: an end at that tick counts."""
        left = [self._ends[one] for one in pause.tickets if one in self._ends]
        ends: list[simpy.Event] = [self._env.all_of(left)] if pause.tickets else []
        if pause.until_ns is not None:
            span_ns = max(0, pause.until_ns - self._env.now)
            ends.append(Wake(self._env, span_ns, DEADLINES))
        yield self._env.any_of(ends)

    def _take_up(self, *, is_last: bool) -> Process:
        """End the round if the app has received something, or waits no longer."""
        if self._taken and self._merge_ns:
            yield self._env.timeout(self._merge_ns)
        if self._taken or self._has_given_up or (is_last and any(self._counts)):
            self._end_round()

    def _require_progress(self) -> None:
        """Refuse an app that waits again and again, and sends nothing."""
        self._num_idle = 0 if self._sent or self._parts else self._num_idle + 1
        if self._num_idle > MAX_IDLE_WAITS:
            raise InputError(
                f"the app has waited {MAX_IDLE_WAITS:,} times in a row and sent "
                "nothing: it asks for more clients than are ever there"
            )

    def _start_sent(self) -> None:
        """Start the letters to clients that are free; others wait for theirs.

        What is sent together may be broadcast, once in a round.
        """
        batches, self._sent = self._sent, []
        may_broadcast = len(batches) == 1 and not self._counts.num_sampled
        for letters in batches:
            parts = [part for one in letters if (part := self._queued(one)) is not None]
            if may_broadcast:
                self._serve(parts)
            else:
                for part in parts:
                    self._start(part)

    def _queued(self, letter: Letter) -> Participation | None:
        """Return the participation of a letter; None where its client is busy, or
        away."""
        queue = self._queues.setdefault(letter.client_id, deque())
        queue.append(letter)
        return self._enlist(letter) if len(queue) == 1 else None

    def _serve(self, parts: Sequence[Participation]) -> None:
        """Serve each cell: its broadcast, if it has one, then every task."""
        for _, own in by_cell(self._scene, parts):
            serve = serve_cell(
                self._scene,
                own,
                missing=own[0].job,
                ends=[self._broadcasts_end],
                at_end=self._note_end,
            )
            self._env.process(serve)

    def _start(self, part: Participation) -> None:
        """Start a task whose client gets its message alone."""
        task = take_part(self._scene, part, None, self._note_end)
        part.process = self._env.process(task)

    def _enlist(self, letter: Letter) -> Participation | None:
        """Return the participation of a letter; None where its client is away."""
        if not self._scene.attendance.is_available(letter.client_id):
            self._over(letter.ticket, letter.client_id, AWAY)
            return None
        part = self._stage.participants.enlist(
            letter.client_id, self._round_id, letter.ticket, is_per_round=False
        )
        self._parts[letter.ticket] = part
        self._add(started=1)
        return part

    def _note_end(self, part: Participation) -> None:
        """Note how a letter was over; its client goes on with the next one."""
        assert part.status is not None
        if part.status != "done":
            del self._parts[part.job.version]
            self._stage.participants.record(part)
            self._add(lost=int(part.status != "unfinished"))
        self._over(part.job.version, part.client_id, part.status)

    def _over(self, ticket: str, client_id: int, outcome: str) -> None:
        self._outcomes[ticket] = self._env.now, outcome
        self._ends.pop(ticket).succeed()
        queue = self._queues[client_id]
        queue.popleft()
        if queue and not self._is_stopped:
            part = self._enlist(queue[0])
            if part is not None:
                self._start(part)

    def _end_round(self) -> None:
        """Write the round that ends with what the app has received."""
        stage = self._stage
        for ticket in self._taken:
            del self._outcomes[ticket]
            if (part := self._parts.pop(ticket, None)) is not None:
                stage.participants.record(part, merged_round_id=self._round_id)
                self._add(merged=1)
        self._taken, self._has_given_up = [], False
        stage.end_round(self._round_id, self._start_ns, self._counts)
        self._counts = Counts(0, 0, 0)
        self._round_id, self._start_ns = self._round_id + 1, self._env.now

    def _stop(self) -> Process:
        """End what is under way at the end of the run, and record it."""
        self._is_stopped = True
        left = sorted(self._parts.values(), key=lambda part: part.task_id)
        if left:
            self._scene.mark("dismissed", detail=f"{len(left)} under way")
        self._broadcasts_end.succeed()
        done = arrived(left)
        yield from self._stage.participants.end_all(
            left, cut_as="unfinished", discard_as="unmerged"
        )
        yield Wake(self._env, 0, DEADLINES)
        for part in done:
            self._stage.participants.record(part)

    def _add(self, *, started: int = 0, merged: int = 0, lost: int = 0) -> None:
        before = self._counts
        self._counts = Counts(
            before.num_sampled + started,
            before.num_merged + merged,
            before.num_dropped + lost,
        )
