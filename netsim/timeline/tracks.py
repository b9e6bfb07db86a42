"""The processes and tracks of the timeline."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from netsim.timeline.trace_events import TraceEvents, Track
from netsim.trace.rows import Client

SERVER_PID = 1
FIRST_CELL_PID = 2
FIRST_TID = 1_000  # unlike any process: one with the number of its process is its main


class Tracks:
    """A process for the server and one per cell; named when first asked for."""

    def __init__(self, events: TraceEvents, clients: Iterable[Client]) -> None:
        self._events = events
        self._homes = {row.client_id: (row.cell_id, row.device) for row in clients}
        self._named: dict[tuple[int, str], Track] = {}
        self._pids: set[int] = set()
        self._tids = itertools.count(FIRST_TID)

    def server(self, name: str, place: int) -> Track:
        """Return the server's track ``name``."""
        self.server_pid()
        return self._track(SERVER_PID, name, place)

    def server_pid(self) -> int:
        """Return the server's process."""
        return self._process(SERVER_PID, "server")

    def cell_pid(self, cell_id: int) -> int:
        """Return a cell's process."""
        return self._process(FIRST_CELL_PID + cell_id, f"cell {cell_id}")

    def broadcast(self, cell_id: int) -> Track:
        """Return the track of what a cell sends to all."""
        return self._track(self.cell_pid(cell_id), "broadcast", 0)

    def client(self, client_id: int) -> Track:
        """Return the track of a client's tasks and their phases."""
        cell_id, device = self._home(client_id)
        name = f"client {client_id} {device}".rstrip()
        return self._track(self.cell_pid(cell_id), name, 1 + 2 * client_id)

    def radio(self, client_id: int, cell_id: int) -> Track:
        """Return the track of a client's own transfers over a cell's bands."""
        name = f"client {client_id} radio"
        return self._track(self.cell_pid(cell_id), name, 2 + 2 * client_id)

    def _home(self, client_id: int) -> tuple[int, str]:
        # a killed run has its clients on disk only if there were very many
        return self._homes.get(client_id, (0, ""))

    def _process(self, pid: int, name: str) -> int:
        if pid not in self._pids:
            self._pids.add(pid)
            self._events.name_process(pid, name, pid)
        return pid

    def _track(self, pid: int, name: str, place: int) -> Track:
        track = self._named.get((pid, name))
        if track is None:
            track = self._named[pid, name] = Track(pid, next(self._tids))
            self._events.name_track(track, name, place)
        return track
