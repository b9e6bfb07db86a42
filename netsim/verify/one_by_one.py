"""Checks whom a server without rounds started, and when: its picks are drawn again.

An update that arrives waits until the server is free; a task that comes to nothing
frees its client at once. Of tasks that end at one tick the messages tell the order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush

from netsim.availability import Presence
from netsim.core.clock import MAX_NS, to_ns
from netsim.core.streams import uniform
from netsim.server.rules import BufferRules
from netsim.trace.rows import Task
from netsim.verify.finding import Finding
from netsim.verify.known import Known, Unknown
from netsim.verify.marks import Mark, compare_marks
from netsim.verify.trace import Trace

ARRIVED = frozenset({"done", "diverged", "unmerged", "server-down"})
TIES = "tasks that end at one tick may be taken in either order"


class Differs(Exception):
    """Where the recorded tasks are not those of the picks."""


def check_picks(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield the first task that the server's picks do not give, and marks that nobody
    is there while somebody is, or the reverse."""
    rules = known.rules.buffer
    if rules is None:
        return
    played = _Played(trace, known, rules)
    try:
        played.play()
    except Differs as difference:
        if played.has_ties:
            raise Unknown(TIES) from difference
        rule = "a server must start the client that it picks, as soon as it can"
        yield Finding("tasks", f"task {played.num_started}", rule, str(difference))
        return
    yield from compare_marks(trace, ("nobody there",), played.marks)


class _Played:
    """The server's clients, from one recorded end of a task to the next."""

    def __init__(self, trace: Trace, known: Known, rules: BufferRules) -> None:
        scenario = known.scenario
        self.marks: list[Mark] = []
        self.has_ties = False
        self.num_started = 0
        self._seed, self._rules = scenario.seed, rules
        self._tasks = trace.tasks_by_id
        self._presence = Presence(known.availability, scenario.seed)
        self._empty_ns = trace.empty_ns
        self._num_rounds = len(trace.rounds)
        self._places = _places(trace)
        self._outages = deque(known.outages)
        self._down_ns = known.outages_ns
        stop_s = scenario.stop.time_s
        self._stop_ns = MAX_NS if stop_s is None else to_ns(stop_s)
        self._now_ns, self._round_id, self._num_buffered, self._num_picks = 0, 1, 0, 0
        self._idle = list(range(known.num_clients))
        self._away: list[tuple[int, int]] = []  # the tick of return, and the client
        self._at_work: dict[int, Task] = {}
        self._ends: list[tuple[int, int, int]] = []  # tick, place, client
        self._queue: deque[int | None] = deque()  # clients whose updates arrived

    def play(self) -> None:
        """Play the run to its end."""
        while self._round_id <= self._num_rounds:
            self._start_idle()
            if not (self._at_work or self._idle or self._away):
                break
            if not self._queue and not self._wait():
                continue
            client_id = self._queue.popleft()
            if client_id is not None:
                self._receive(client_id)
            elif self._now_ns >= self._stop_ns:
                break
        if self.num_started < len(self._tasks):
            raise Differs(f"{len(self._tasks)} tasks, computed {self.num_started}")

    def _start_idle(self) -> None:
        while self._away and self._away[0][0] <= self._now_ns:
            self._idle.append(heappop(self._away)[1])
        while len(self._at_work) < self._rules.concurrency and self._idle:
            client_id = self._pick()
            is_here, change_ns = self._presence.at(client_id, self._now_ns)
            if self._empty_ns.get(client_id, MAX_NS) <= self._now_ns:
                continue
            if is_here:
                self._start(client_id)
            elif change_ns < MAX_NS:
                heappush(self._away, (change_ns, client_id))

    def _pick(self) -> int:
        idle = self._idle
        self._num_picks += 1
        place = int(uniform(self._seed, "pick", self._num_picks) * len(idle))
        idle[place], idle[-1] = idle[-1], idle[place]
        return idle.pop()

    def _start(self, client_id: int) -> None:
        """Start the next recorded task, which must be this client's."""
        right = self._round_id, client_id, self._now_ns
        if self.num_started == len(self._tasks):
            raise Differs(f"there is none, computed {right}")
        task = self._tasks[self.num_started]
        if (task.round_id, task.client_id, task.download_start_ns) != right:
            said = task.round_id, task.client_id, task.download_start_ns
            raise Differs(f"{said}, computed {right}")
        self.num_started += 1
        self._at_work[client_id] = task
        is_cut = task.end_ns in self._down_ns and task.status == "server-down"
        if not is_cut and task.status != "unfinished":
            place = self._places.get(task.task_id, -1)
            heappush(self._ends, (task.end_ns, place, client_id))

    def _wait(self) -> bool:
        """Wait for the next end of a task, or for a client's return; return whether one
        comes before an outage."""
        back_ns = MAX_NS
        if self._away and len(self._at_work) < self._rules.concurrency:
            back_ns = self._away[0][0]
            if not self._at_work:
                self.marks.append((self._now_ns, "nobody there", None, None, ""))
        end_ns = self._ends[0][0] if self._ends else MAX_NS
        self.has_ties |= end_ns == back_ns
        if self._is_cut(min(end_ns, back_ns)):
            return False
        self._now_ns = min(end_ns, back_ns)
        self._take_ends(self._now_ns)
        self._queue = self._queue or deque([None])
        return True

    def _take_ends(self, until_ns: int) -> None:
        """Queue what ends until a tick, and free the clients of what came to
        nothing."""
        last_ns = -1
        while self._ends and self._ends[0][0] <= until_ns:
            end_ns, _, client_id = heappop(self._ends)
            self.has_ties |= end_ns == last_ns
            last_ns = end_ns
            status = self._at_work[client_id].status
            if status in ARRIVED:
                self._queue.append(client_id)
            else:
                self._free(client_id)
                self._queue.append(None)

    def _receive(self, client_id: int) -> None:
        """Take an update, and merge when the buffer is full with it."""
        self._free(client_id)
        self._num_buffered += 1
        if self._num_buffered < self._rules.buffer_size:
            return
        done_ns = self._now_ns + to_ns(self._rules.merge_time_s)
        if done_ns > self._now_ns:
            if self._is_cut(done_ns):
                return
            self._take_ends(done_ns)
        self._now_ns, self._num_buffered = done_ns, 0
        self._round_id += 1

    def _free(self, client_id: int) -> None:
        del self._at_work[client_id]
        self._idle.append(client_id)

    def _is_cut(self, until_ns: int) -> bool:
        """Return whether an outage begins before a tick; if so, pass it: all that was
        at work is idle then."""
        if not self._outages or self._outages[0][0] >= until_ns:
            return False
        start_ns, self._now_ns = self._outages.popleft()
        self._take_ends(start_ns)
        self._idle += sorted(self._at_work)
        self._at_work.clear()
        self._ends.clear()
        self._queue.clear()
        self._num_buffered = 0
        return True


def _places(trace: Trace) -> dict[int, int]:
    """Return the place of each task's last message among those that ended."""
    tasks = {row.transfer_id: row.task_id for row in trace.transfers}
    found = {
        row.task_id: place
        for place, row in enumerate(trace.transfers)
        if row.task_id is not None
    }
    for place, arrival in enumerate(trace.arrivals):
        task_id = tasks.get(arrival.transfer_id)
        if task_id is not None:
            found[task_id] = place
    return found
