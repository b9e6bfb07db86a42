"""The clients at work for an asynchronous server."""

from __future__ import annotations

from collections.abc import Generator
from heapq import heappop, heappush

import simpy

from netsim.client.participation import Participation, Process
from netsim.core.clock import MAX_NS
from netsim.core.streams import uniform
from netsim.server.stage import Stage
from netsim.trace.literals import Status

CUT = frozenset({"server-down", "unfinished"})  # by the server itself: no news to it


class Crew:
    """Keeps a number of clients at work; who comes back waits to be welcomed.

    Clients that are found away are set aside until they are there again.
    """

    def __init__(self, stage: Stage, size: int) -> None:
        self._arrived = simpy.Store(stage.env)
        self.num_started = self.num_lost = 0  # since the last flush, which resets them
        self._stage = stage
        self._size = size
        self._idle = list(range(len(stage.population)))
        self._away: list[tuple[int, int]] = []  # the tick of return, and who
        self._at_work: dict[int, Participation] = {}
        self._num_picks = 0

    @property
    def is_deserted(self) -> bool:
        """Return whether nobody is at work and nobody ever will be."""
        return not (self._at_work or self._idle or self._away)

    def fill(self, round_id: int) -> None:
        """Start idle clients until the crew is complete, or nobody is there."""
        stage = self._stage
        self._take_back()
        while len(self._at_work) < self._size and self._idle:
            client_id = self._pick()
            if not stage.attendance.is_here(client_id):
                self._set_aside(client_id)
                continue
            part = stage.enlist(client_id, round_id, None, is_per_round=False)
            stage.start(part, None, self._note_end)
            self._at_work[client_id] = part
            self.num_started += 1

    def dismiss(self, *, running: Status, arrived: Status) -> Process:
        """Cut everybody off and record what was lost, for a reason."""
        stage = self._stage
        lost = sorted(self._at_work.values(), key=lambda part: part.task_id)
        for part in lost:
            if part.status == "running":
                stage.cut(part, running)
        yield stage.env.all_of([p.process for p in lost if p.process is not None])
        for part in lost:
            if part.status == "done":
                stage.lose(part, arrived)
            stage.record(part)
        self._arrived.items.clear()
        self._idle += sorted(self._at_work)
        self._at_work.clear()

    @property
    def num_at_work(self) -> int:
        """Return how many have started and are not welcomed yet."""
        return len(self._at_work)

    def welcome(self) -> Generator[simpy.Event, object, Participation | None]:
        """Wait for the next client to come back from work, and return its part; it is
        idle from then on. Where before that somebody can be started, return nothing."""
        arrival = self._arrived.get()
        try:
            yield arrival | self._return() if self._misses_somebody() else arrival
        finally:
            if not arrival.triggered:
                arrival.cancel()
        if not arrival.triggered:
            return None
        part: Participation | None = arrival.value
        if part is not None:
            self._set_free(part)
        return part

    def _misses_somebody(self) -> bool:
        return bool(self._away) and len(self._at_work) < self._size

    def _return(self) -> simpy.Event:
        """Return the return of the first to come back of those who are away."""
        if not self._at_work:
            self._stage.mark("nobody there")
        return self._stage.env.timeout(self._away[0][0] - self._stage.env.now)

    def _note_end(self, part: Participation) -> None:
        """Let who arrives wait to be welcomed; what came to nothing is over now."""
        if part.status == "done":
            self._arrived.put(part)
        elif part.status not in CUT:
            self._set_free(part)
            self._stage.record(part)
            self.num_lost += 1
            self._arrived.put(None)  # news, but of nobody

    def _set_free(self, part: Participation) -> None:
        del self._at_work[part.client_id]
        self._idle.append(part.client_id)

    def _take_back(self) -> None:
        """Let those be idle again who have returned by now."""
        while self._away and self._away[0][0] <= self._stage.env.now:
            self._idle.append(heappop(self._away)[1])

    def _set_aside(self, client_id: int) -> None:
        """Forget a client until it returns, for good if it never does."""
        returns_ns = self._stage.attendance.returns_ns(client_id)
        if returns_ns < MAX_NS:
            heappush(self._away, (returns_ns, client_id))

    def _pick(self) -> int:
        """Take an idle client off the list, each with equal probability."""
        idle = self._idle
        self._num_picks += 1
        place = int(uniform(self._stage.seed, "pick", self._num_picks) * len(idle))
        idle[place], idle[-1] = idle[-1], idle[place]
        return idle.pop()
