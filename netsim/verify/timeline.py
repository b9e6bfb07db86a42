"""Checks when rounds begin and end, against their tasks, broadcasts and the server's
own times."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from typing import NamedTuple

import numpy as np

from netsim.core.clock import MAX_NS, to_ns
from netsim.server.rules import RoundRules
from netsim.trace.rows import Round
from netsim.verify.compare import check_equal
from netsim.verify.finding import Finding
from netsim.verify.known import Known
from netsim.verify.trace import NONE, Trace

Group = tuple[int, int]  # a round and its server
ARRIVED = frozenset({"done", "surplus", "diverged", "unmerged", "server-down"})


def check_rounds(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield rounds that do not begin when the one before ended, or do not end when
    their last update, or their deadline, is there and merged."""
    rules = known.rules
    yield from _check_order(trace, known)
    if rules.rounds is not None:
        yield from _check_gathered(trace, known, rules.rounds)
    if rules.buffer is not None:
        yield from _check_filled(trace, to_ns(rules.buffer.merge_time_s))


def _check_order(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield rounds of one server that are not numbered in a row, or that begin at
    another tick than the one before ended, the server was up again or a client came."""
    up = sorted(e.time_ns for e in trace.events if e.kind == "server up")
    waits = any(event.kind == "nobody there" for event in trace.events)
    last: dict[int, Round] = {}
    pilots = known.policy_rules.pilots
    for row in sorted(trace.rounds):
        if row.phase == "pilot" and not pilots:
            rule = "there must be a policy with pilots for their rounds"
            yield Finding("rounds", f"round {row.round_id}", rule, "there is none")
        before = last.get(row.server_id)
        last[row.server_id] = row
        where = f"round {row.round_id}"
        number, since_ns = (0, 0) if before is None else (before[0], before.end_ns)
        if row.server_id == trace.cloud_id:
            number = row.round_id - 1  # after as many rounds of its edges
        yield from check_equal("rounds", where, ("round_id", row.round_id, number + 1))
        if trace.has_edges and row.server_id != trace.cloud_id:
            continue  # a version may come over the backhaul first
        again_ns = next((tick for tick in up if tick > since_ns), since_ns)
        may_wait = waits and row.start_ns > since_ns
        if row.start_ns not in (since_ns, again_ns) and not may_wait:
            rule = "a round must begin when the one before has ended"
            yield Finding("rounds", where, rule, f"{row.start_ns}, expected {since_ns}")


def _check_gathered(trace: Trace, known: Known, rules: RoundRules) -> Iterator[Finding]:
    gathered, merged = _by_group(trace, known)
    sent, late = _broadcast_ends(trace), _Late(trace)
    down = known.outages_ns
    for row in trace.rounds:
        group = row.round_id, row.server_id
        if row.server_id == trace.cloud_id or row.end_ns in down:
            continue
        start_ns = row.start_ns + to_ns(rules.timing.announce_s)
        if row.end_ns < start_ns:
            continue  # no client was left
        has_merged = group in merged or row.round_id in late.diverged
        merge_ns = to_ns(rules.timing.merge_s) if has_merged else 0
        begun_ns = max(start_ns, sent.get(group, 0))
        waits_ns: Sequence[int] = [begun_ns]
        own = gathered[group]
        if rules.keeps_late and not own.ends_ns:
            waits_ns = late.waits_ns(row.round_id, begun_ns)
        due_ns = [_gathered_ns(row, rules, own, tick_ns) for tick_ns in waits_ns]
        if row.end_ns - merge_ns not in due_ns:
            rule = "a round must end when its last update is there, and merged"
            detail = f"end_ns {row.end_ns}, computed {due_ns[-1]} and {merge_ns}"
            yield Finding("rounds", f"round {row.round_id}", rule, detail)


class _Late:
    """Tasks of earlier rounds, for whose next end a round without own tasks waits."""

    def __init__(self, trace: Trace) -> None:
        self.diverged = {e.round_id for e in trace.events if e.kind == "diverged"}
        tasks = trace.columns("tasks")
        ends_ns, own_ids = tasks["end_ns"], tasks["round_id"]
        self._tasks = sorted(zip(ends_ns.tolist(), own_ids.tolist(), strict=True))
        self._first_ns: dict[int, int] = {}  # of each round's merged late updates
        is_late = (tasks["merged_round_id"] != NONE) & (tasks["staleness"] > 0)
        merged = tasks["merged_round_id"][is_late].tolist()
        for round_id, end_ns in zip(merged, ends_ns[is_late].tolist(), strict=True):
            before_ns = self._first_ns.get(round_id, end_ns)
            self._first_ns[round_id] = min(before_ns, end_ns)

    def waits_ns(self, round_id: int, begun_ns: int) -> Sequence[int]:
        """Return until when a round without own tasks may wait once its broadcasts are
        over: until then if a late update is there, else for the next end of a task. At
        the same tick either may come first."""
        first_ns = self._first_ns.get(round_id, MAX_NS)
        if first_ns < begun_ns:
            return [begun_ns]
        place = bisect_left(self._tasks, (begun_ns, 0))
        rest = (self._tasks[n] for n in range(place, len(self._tasks)))
        later = (end_ns for end_ns, own_id in rest if own_id < round_id)
        ends_ns = [end_ns for end_ns, _ in islice(groupby(later), 2)]
        if round_id in self.diverged or not ends_ns:
            return [begun_ns, *ends_ns]
        return ends_ns[:1] if ends_ns[0] > begun_ns else ends_ns


class _Own(NamedTuple):
    """When a round's own tasks ended, and those of them that brought an update."""

    ends_ns: list[int]
    arrivals_ns: list[int]


def _by_group(trace: Trace, known: Known) -> tuple[dict[Group, _Own], set[Group]]:
    """Return the tasks of each server's round, and the rounds that merged some."""
    tasks = trace.columns("tasks")
    servers = np.zeros_like(tasks["client_id"])
    if trace.has_edges:
        servers = known.population.radio_map.cell_ids[tasks["client_id"]]
    server_ids, is_merged = servers.tolist(), tasks["merged_round_id"] != NONE
    own: dict[Group, _Own] = defaultdict(lambda: _Own([], []))
    columns = (tasks[name].tolist() for name in ("round_id", "end_ns", "status"))
    for round_id, end_ns, status, server_id in zip(*columns, server_ids, strict=True):
        group = own[round_id, server_id]
        group.ends_ns.append(end_ns)
        if status in ARRIVED:
            group.arrivals_ns.append(end_ns)
    merged_ids = tasks["merged_round_id"][is_merged].tolist()
    return own, set(zip(merged_ids, servers[is_merged].tolist(), strict=True))


def _broadcast_ends(trace: Trace) -> dict[Group, int]:
    """Return when the last broadcast of a round was there, by round and server."""
    arrived = {row.transfer_id: row.arrival_ns for row in trace.arrivals}
    found: dict[Group, int] = {}
    is_common = trace.columns("transfers")["task_id"] == NONE
    for row in trace.only(transfers=is_common).transfers:
        group = row.round_id, row.cell_id if trace.has_edges else 0
        end_ns = arrived.get(row.transfer_id, row.end_ns)
        found[group] = max(end_ns, found.get(group, 0))
    for crossing in trace.crossings:
        if crossing.task_id is None and not trace.has_edges:
            group = crossing.round_id, 0
            found[group] = max(crossing.end_ns, found.get(group, 0))
    return found


def _gathered_ns(row: Round, rules: RoundRules, own: _Own, begun_ns: int) -> int:
    """Return the tick at which a round has what it waits for; it lasts at least until
    ``begun_ns``, when its broadcasts are over."""
    limits = [max([begun_ns, *own.ends_ns])]
    if rules.timing.deadline_s is not None:
        limits.append(row.start_ns + to_ns(rules.timing.deadline_s))
    if rules.num_first is not None:
        limits += sorted(own.arrivals_ns)[rules.num_first - 1 : rules.num_first]
    return min(limits)


def _check_filled(trace: Trace, merge_ns: int) -> Iterator[Finding]:
    """Yield merges of a buffer that are not when the last of its updates was there."""
    ends: dict[int, int] = {}
    for task in trace.tasks:
        if task.merged_round_id is not None:
            last_ns = ends.get(task.merged_round_id, 0)
            ends[task.merged_round_id] = max(last_ns, task.end_ns)
    for event in trace.events:
        if event.kind == "diverged" and event.round_id in ends:
            ends.pop(event.round_id)
    for row in trace.rounds:
        if row.round_id in ends:
            due_ns = max(row.start_ns, ends[row.round_id]) + merge_ns
            where = f"round {row.round_id}"
            yield from check_equal("rounds", where, ("end_ns", row.end_ns, due_ns))
