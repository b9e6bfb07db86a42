"""When each client was released, and so until when it drew idle power."""

from __future__ import annotations

from collections.abc import Sequence

from netsim.availability import Presence
from netsim.trace.rows import Task
from netsim.verify.known import Known
from netsim.verify.trace import Trace


class Releases:
    """The ticks at which idle power may stop; ask in the order of the tasks."""

    def __init__(self, trace: Trace, known: Known) -> None:
        scenario = known.scenario
        self._rounds = known.rules.rounds
        self._is_constant = not known.is_anyone_ever_away
        self._presence = Presence(known.availability, scenario.seed)
        self._cells = known.population.radio_map.cell_ids
        self._has_edges = trace.has_edges
        self._ends = {(row.round_id, row.server_id): row.end_ns for row in trace.rounds}
        self._empty_ns = trace.empty_ns

    def of(self, task: Task) -> Sequence[int]:
        """Return when a task's client may have been released: when its round ended, at
        its own end where it did not wait for that; both if the trace leaves it open."""
        if self._rounds is None:
            return [task.end_ns]
        server_id = int(self._cells[task.client_id]) if self._has_edges else 0
        round_ns = self._ends.get((task.round_id, server_id), task.end_ns)
        if task.staleness or round_ns < task.end_ns:  # it went on beyond its round
            return [task.end_ns]
        waited_ns = self._gone_by(task, round_ns)
        if not self._rounds.keeps_late or task.status == "done":
            return [waited_ns]
        return [task.end_ns, waited_ns]

    def _gone_by(self, task: Task, until_ns: int) -> int:
        """Return when a client that waits was gone, or the end of its wait."""
        if self._is_constant or task.status in ("left", "battery"):
            return until_ns if self._is_constant else task.end_ns
        is_here, change_ns = self._presence.at(task.client_id, task.end_ns)
        left_ns = change_ns if is_here else task.end_ns
        empty_ns = self._empty_ns.get(task.client_id, until_ns)
        return max(task.end_ns, min(left_ns, empty_ns, until_ns))
