"""Counters: bands in use, updates in a buffer, metrics of the adapter."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence

from netsim.timeline.trace_events import TraceEvents
from netsim.timeline.tracks import Tracks
from netsim.trace.rows import Band, Evaluation, Round, Task

UHZ_PER_HZ = 10**6


def write_bands(events: TraceEvents, tracks: Tracks, rows: Iterable[Band]) -> None:
    """Write the share in use and the number of transfers, per cell and direction; both
    are zero where the table has no rows."""
    last: dict[tuple[int, str], Band] = {}
    for row in rows:
        before = last.get((row.cell_id, row.direction))
        if before is not None and before.end_ns < row.start_ns:
            _write_band(events, tracks, before, before.end_ns, 0, 0)
        _write_band(events, tracks, row, row.start_ns, row.allocated_uhz, row.num_live)
        last[row.cell_id, row.direction] = row
    for row in last.values():
        _write_band(events, tracks, row, row.end_ns, 0, 0)


def _write_band(
    events: TraceEvents,
    tracks: Tracks,
    row: Band,
    time_ns: int,
    allocated_uhz: int,
    num_live: int,
) -> None:
    pid = tracks.cell_pid(row.cell_id)
    used_hz = allocated_uhz / UHZ_PER_HZ
    events.count(pid, time_ns, f"{row.direction}link in use (Hz)", used_hz)
    events.count(pid, time_ns, f"{row.direction}link transfers", num_live)


def write_score(events: TraceEvents, tracks: Tracks, row: Evaluation) -> None:
    """Write accuracy and loss of the global adapter."""
    if row.client_id is not None:
        return
    pid = tracks.server_pid()
    for name, value in (("accuracy", row.accuracy), ("loss", row.loss)):
        if math.isfinite(value):
            events.count(pid, row.time_ns, f"{name} {row.split}", value)


class Buffer:
    """The updates that wait at an asynchronous server, counted as merges go by.

    Updates are taken in the order in which they arrived, so that after a merge none
    follows that arrived before the last one that it took.
    """

    def __init__(self, events: TraceEvents, tracks: Tracks) -> None:
        self._events = events
        self._tracks = tracks
        self._changes: list[tuple[int, int]] = []  # tick, by how much
        self._length = 0

    def take(self, row: Round | None, tasks: Sequence[Task]) -> None:
        """Add the updates that arrive and remove those of a merge, if there is one."""
        taken = [task for task in tasks if task.merged_round_id is not None]
        left = [task for task in tasks if task.status == "unmerged"]
        for task in (*taken, *left):
            heapq.heappush(self._changes, (task.end_ns, 1))
        if row is not None and taken:
            heapq.heappush(self._changes, (row.end_ns, -len(taken)))
            self._write_before(max(task.end_ns for task in taken))

    def close(self) -> None:
        """Write what is left."""
        self._write_before(None)

    def _write_before(self, limit_ns: int | None) -> None:
        """Write the length after every tick before a limit at which it changed."""
        changes = self._changes
        while changes and (limit_ns is None or changes[0][0] < limit_ns):
            time_ns, _ = changes[0]
            while changes and changes[0][0] == time_ns:
                self._length += heapq.heappop(changes)[1]
            pid = self._tracks.server_pid()
            self._events.count(pid, time_ns, "buffer length", self._length)
