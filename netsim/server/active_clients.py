"""The active clients of an asynchronous server."""

from __future__ import annotations

from collections.abc import Generator
from heapq import heappop, heappush
from typing import Final

import simpy

from netsim.client.client import take_part
from netsim.client.participation import Participation, Process
from netsim.core.clock import MAX_NS
from netsim.core.streams import uniform
from netsim.server.stage import Stage
from netsim.trace.literals import Status

CUT: Final[frozenset[Status]] = frozenset({"server-down", "unfinished"})


class ActiveClients:
    """Keeps a number of clients active; arrived updates queue for the server.

    Clients that are found unavailable are set aside until they return.
    """

    def __init__(self, stage: Stage, size: int) -> None:
        self.num_started = self.num_lost = 0  # since the last merge, which resets them
        self._stage = stage
        self._env = stage.scene.env
        self._attendance = stage.scene.attendance
        self._arrived = simpy.Store(self._env)
        self._size = size
        self._idle = list(range(len(stage.scene.population)))
        self._away: list[tuple[int, int]] = []  # the tick of return, and the client
        self._at_work: dict[int, Participation] = {}
        self._num_picks = 0

    @property
    def num_at_work(self) -> int:
        """Return how many participations the server has not received yet."""
        return len(self._at_work)

    @property
    def is_deserted(self) -> bool:
        """Return whether no client is active and none ever will be."""
        return not (self._at_work or self._idle or self._away)

    def start_idle(self, round_id: int) -> None:
        """Start idle clients until enough are active, or no idle one is available."""
        stage = self._stage
        self._take_back()
        while len(self._at_work) < self._size and self._idle:
            client_id = self._pick()
            if not self._attendance.is_available(client_id):
                self._set_aside(client_id)
                continue
            part = stage.participants.enlist(
                client_id, round_id, stage.version, is_per_round=False
            )
            task = take_part(stage.scene, part, None, self._note_end)
            part.process = self._env.process(task)
            self._at_work[client_id] = part
            self.num_started += 1

    def stop_all(self, *, cut_as: Status, discard_as: Status) -> Process:
        """Cut all running tasks, discard arrived updates, and record both."""
        participants = self._stage.participants
        stopped = sorted(self._at_work.values(), key=lambda part: part.task_id)
        yield from participants.end_all(stopped, cut_as=cut_as, discard_as=discard_as)
        for part in stopped:
            participants.record(part)
        self._arrived.items.clear()
        self._idle += sorted(self._at_work)
        self._at_work.clear()

    def next_arrival(self) -> Generator[simpy.Event, object, Participation | None]:
        """Wait for the next update and return its participation, whose client is idle
        then; return None when a task brought none or another client can start."""
        arrival = self._arrived.get()
        try:
            yield arrival | self._first_return() if self._has_room() else arrival
        finally:
            if not arrival.triggered:
                arrival.cancel()
        if not arrival.triggered:
            return None
        part: Participation | None = arrival.value
        if part is not None:
            self._set_idle(part)
        return part

    def _has_room(self) -> bool:
        """Return whether a client that returns can start at once."""
        return bool(self._away) and len(self._at_work) < self._size

    def _first_return(self) -> simpy.Event:
        if not self._at_work:
            self._stage.scene.mark("nobody there")
        return self._env.timeout(self._away[0][0] - self._env.now)

    def _note_end(self, part: Participation) -> None:
        """Queue an update that arrived; record a task that brought none."""
        if part.status == "done":
            self._arrived.put(part)
        elif part.status not in CUT:
            self._set_idle(part)
            self._stage.participants.record(part)
            self.num_lost += 1
            self._arrived.put(None)  # wakes the server

    def _set_idle(self, part: Participation) -> None:
        del self._at_work[part.client_id]
        self._idle.append(part.client_id)

    def _take_back(self) -> None:
        """Make clients idle that have returned by now."""
        while self._away and self._away[0][0] <= self._env.now:
            self._idle.append(heappop(self._away)[1])

    def _set_aside(self, client_id: int) -> None:
        """Leave out a client until it returns, for good if it never does."""
        returns_ns = self._attendance.returns_ns(client_id)
        if returns_ns < MAX_NS:
            heappush(self._away, (returns_ns, client_id))

    def _pick(self) -> int:
        """Remove an idle client from the list, each with equal probability."""
        idle = self._idle
        self._num_picks += 1
        draw = uniform(self._stage.scene.seed, "pick", self._num_picks)
        place = int(draw * len(idle))
        idle[place], idle[-1] = idle[-1], idle[place]
        return idle.pop()
