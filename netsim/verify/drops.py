"""The round in which each task that was not merged counts as dropped."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from heapq import heappop, heappush

from netsim.trace.rows import Task
from netsim.verify.trace import Trace

IN_THE_END = frozenset({"unfinished", "unmerged"})  # cut by the run's end, not dropped
AT_ONCE = frozenset({"late", "surplus"})  # cut when their own round is over
AFTER_ARRIVAL = frozenset(
    {"diverged", "server-down"}
)  # may come later than a task's end


class Drops:
    """Tasks that were dropped, counted in the round that was under way then.

    At the tick at which a round ends it may be that round or the next one, whenever
    that begins; an update that was lost at the server may count in any later round.
    """

    def __init__(self, trace: Trace) -> None:
        spans: dict[int, tuple[int, int]] = {}  # of all servers that have the round
        for row in trace.rounds:
            start_ns, end_ns = spans.get(row.round_id, (row.start_ns, row.end_ns))
            span = min(start_ns, row.start_ns), max(end_ns, row.end_ns)
            spans[row.round_id] = span
        self._ids = sorted(spans)
        self._starts = [spans[round_id][0] for round_id in self._ids]
        self._ends = [spans[round_id][1] for round_id in self._ids]
        self.sure: Counter[int] = Counter()
        self._coming: list[tuple[int, int]] = []  # first and last possible round
        self._open: list[int] = []  # the last rounds of those whose first has come
        for task in trace.tasks:
            if task.merged_round_id is None and task.status not in IN_THE_END:
                self._count(task)
        self._coming.sort(reverse=True)

    def nearest(self, round_id: int, stated: int) -> int:
        """Return the possible number of a round's drops that is nearest to its row's;
        call it for the rounds in order."""
        while self._coming and self._coming[-1][0] <= round_id:
            heappush(self._open, self._coming.pop()[1])
        found = self.sure[round_id]
        while self._open and (self._open[0] <= round_id or found < stated):
            heappop(self._open)
            found += 1
        return found

    def _count(self, task: Task) -> None:
        choices = [] if task.status in AT_ONCE else self._choices(task)
        if len(choices) > 1:
            self._coming.append((choices[0], choices[-1]))
        else:
            self.sure[choices[0] if choices else task.round_id] += 1

    def _choices(self, task: Task) -> list[int]:
        """Return the rounds that may have been under way when a task ended."""
        first = last = bisect_left(self._ends, task.end_ns)
        while last + 1 < len(self._ids) and (
            self._starts[last + 1] <= task.end_ns or self._ends[last] == task.end_ns
        ):
            last += 1
        if task.status in AFTER_ARRIVAL:
            last = len(self._ids) - 1
        return [n for n in self._ids[first : last + 1] if n >= task.round_id]
