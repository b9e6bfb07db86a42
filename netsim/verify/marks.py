"""Checks the events that follow from rounds, tasks, outages and places."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from netsim.availability import Presence
from netsim.core.clock import MAX_NS, to_ns
from netsim.server.outages import spans
from netsim.server.rules import RoundRules
from netsim.trace.literals import EventKind, Status
from netsim.trace.rows import Task
from netsim.verify.finding import Finding
from netsim.verify.known import Known
from netsim.verify.trace import Trace

Mark = tuple[int, EventKind, int | None, int | None, str]
IN_THE_END = ("unfinished", "unmerged")


def check_sequence(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield events that are not numbered from zero on."""
    for number, event in enumerate(trace.events):
        where = f"event {event.sequence}"
        if event.sequence != number:
            rule = "events must be numbered from zero on"
            yield Finding("events", where, rule, f"expected {number}")


def check_outages(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield outages of the server that are not the scenario's."""
    expected: list[Mark] = []
    for start_ns, end_ns in spans(known.rules.outages, known.scenario.seed):
        if start_ns >= trace.sim_time_ns:
            break
        detail = f"until {end_ns} ns"
        expected.append((start_ns, "server down", None, None, detail))
        expected.append((end_ns, "server up", None, None, ""))
    yield from compare_marks(trace, ("server down", "server up"), expected)


def check_dismissed(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield a wrong number of active clients when the run ended."""
    statuses = trace.columns("tasks")["status"].tolist()
    number = sum(status in IN_THE_END for status in statuses)
    detail = f"{number} under way"
    mark: Mark = (trace.sim_time_ns, "dismissed", None, None, detail)
    yield from compare_marks(trace, ("dismissed",), [mark] if number else [])


def check_late(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield rounds whose number of late clients is not the one of their mark."""
    rules, down = known.rules.rounds, known.outages_ns
    if rules is None or not rules.has_late:
        yield from compare_marks(trace, ("deadline", "enough"), [])
        return
    expected = list(_late_marks(trace, rules, down))
    known_rounds = {mark[2] for mark in expected} if down else None
    yield from compare_marks(trace, ("deadline", "enough"), expected, known_rounds)


def _late_marks(trace: Trace, rules: RoundRules, down: set[int]) -> Iterator[Mark]:
    """Yield a mark for each round with late clients, save those that an outage cut."""
    of_round: dict[int, list[Task]] = defaultdict(list)
    for task in trace.tasks:
        of_round[task.round_id].append(task)
    merging = {task.merged_round_id for task in trace.tasks}
    merging |= {event.round_id for event in trace.events if event.kind == "diverged"}
    timing = rules.timing
    for row in trace.rounds:
        merge_ns = to_ns(timing.merge_s) if row.round_id in merging else 0
        sorted_ns = row.end_ns - merge_ns
        number = sum(_is_late(task, sorted_ns) for task in of_round[row.round_id])
        if not number or (row.end_ns in down and row.num_merged == 0):
            continue
        kind: EventKind = "enough"
        if timing.deadline_s is not None:
            is_due = sorted_ns == row.start_ns + to_ns(timing.deadline_s)
            kind = "deadline" if is_due else kind
        yield sorted_ns, kind, row.round_id, None, f"{number} late"


def _is_late(task: Task, sorted_ns: int) -> bool:
    """Return whether a task was not in time when its round's updates were chosen."""
    if task.status in ("late", "surplus") or task.staleness:
        return True
    return task.end_ns > sorted_ns or task.status in IN_THE_END


def _ended_as(trace: Trace, status: Status) -> list[Task]:
    """Return the tasks that ended with a status; the others become no rows."""
    return trace.only(tasks=trace.columns("tasks")["status"] == status).tasks


def check_batteries(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield empty batteries that are not the drawn ones, or out of time."""
    battery, seed = known.scenario.population.battery, known.scenario.seed
    ends = {task.client_id: task.end_ns for task in _ended_as(trace, "battery")}
    for event in trace.events:
        if event.kind != "battery empty":
            continue
        where = f"event {event.sequence}"
        client_id = event.client_id
        if battery is None or client_id is None or event.round_id is not None:
            rule = "a battery must be a client's"
            yield Finding("events", where, rule, f"client {client_id}")
            continue
        detail = f"{battery.capacity_of(seed, client_id)!r} J"
        right = detail, ends.get(client_id, event.time_ns)
        if (event.detail, event.time_ns) != right:
            rule = "a battery must be the drawn one, empty when its client stops"
            yield Finding("events", where, rule, f"{event[1:]}, computed {right}")


def check_diverged(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield diverged updates without their mark at the merge, or reversed."""
    ends = {row.round_id: row.end_ns for row in trace.rounds}
    lost = Counter(task.client_id for task in _ended_as(trace, "diverged"))
    said = [event for event in trace.events if event.kind == "diverged"]
    if Counter(event.client_id for event in said) != lost:
        rule = "a diverged update must be marked in its merge"
        yield Finding("events", "diverged", rule, f"{len(said)} marks")
    for event in said:
        if event.time_ns != ends.get(event.round_id or 0) and not trace.has_edges:
            rule = "a diverged update must be marked at its round's end"
            yield Finding("events", f"event {event.sequence}", rule, f"{event[1:4]}")


def check_deserted(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield rounds that waited for a client without a mark, or the reverse."""
    if known.rules.rounds is None:
        return  # its picks give them
    expected: list[Mark] = []
    if known.is_anyone_ever_away:
        presence, up = Presence(known.availability, known.scenario.seed), known.outages
        since_ns = 0
        server_id = trace.cloud_id if trace.has_edges else 0
        for row in sorted(trace.rounds):
            if row.server_id != server_id:
                continue
            if _is_deserted(trace, known, presence, since_ns):
                expected.append((since_ns, "nobody there", None, None, ""))
            since_ns = dict(up).get(row.end_ns, row.end_ns)
    yield from compare_marks(trace, ("nobody there",), expected)


def _is_deserted(trace: Trace, known: Known, presence: Presence, tick_ns: int) -> bool:
    """Return whether no client is there at a tick, and one comes later."""
    is_anyone_to_come = False
    for client_id in range(known.num_clients):
        if trace.empty_ns.get(client_id, MAX_NS) <= tick_ns:
            continue
        is_here, change_ns = presence.at(client_id, tick_ns)
        if is_here:
            return False
        is_anyone_to_come |= change_ns < MAX_NS
    return is_anyone_to_come


def check_moves(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield handovers that are not where a client's messages begin in another cell."""
    radio_map = known.population.radio_map
    expected: list[Mark] = []
    starts = {} if radio_map.is_static else _message_starts(trace, known)
    for client_id, ticks in starts.items():
        cell_id = int(radio_map.cell_ids[client_id])
        for tick_ns in sorted(ticks):
            now_id = radio_map.cell_at(client_id, tick_ns)
            if now_id != cell_id:
                detail = f"cell {cell_id} to cell {now_id}"
                expected.append((tick_ns, "handover", None, client_id, detail))
            cell_id = now_id
    yield from compare_marks(trace, ("handover",), expected)


def _message_starts(trace: Trace, known: Known) -> dict[int, set[int]]:
    """Return when each client's messages began: a task's broadcast, its own download
    and its upload; what is sent again stays in its cell. A broadcast without receivers
    is sent to the client with the weakest channel."""
    found: dict[int, set[int]] = defaultdict(set)
    for event in trace.events:
        if event.kind == "empty round":
            found[known.population.radio_map.weakest_client].add(event.time_ns)
    first_ns: dict[tuple[int, int], int] = {}  # of a task's own download
    for rows in (trace.transfers, trace.crossings):
        for row in rows:
            if row.direction == "down" and row.task_id is not None:
                key = row.client_id or 0, row.task_id
                first_ns[key] = min(row.start_ns, first_ns.get(key, row.start_ns))
    for (client_id, _), tick_ns in first_ns.items():
        found[client_id].add(tick_ns)
    for task in trace.tasks:
        if known.rules.rounds is not None:
            found[task.client_id].add(task.download_start_ns)
        if task.upload_start_ns is not None and task.upload_bits:
            found[task.client_id].add(task.upload_start_ns)
    return found


def compare_marks(
    trace: Trace,
    kinds: Iterable[EventKind],
    expected: Iterable[Mark],
    rounds: Iterable[int | None] | None = None,
) -> Iterator[Finding]:
    """Yield marks of these kinds that are missing, and others; only in some rounds if
    they are given."""
    of_kinds = frozenset(kinds)
    said: Counter[Mark] = Counter(
        event[1:] for event in trace.events if event.kind in of_kinds
    )
    if rounds is not None:
        known = set(rounds)
        said = Counter({mark: n for mark, n in said.items() if mark[2] in known})
    right = Counter(expected)
    for mark in [*(said - right), *(right - said)]:
        rule = "events must be those that rounds, tasks and scenario give"
        is_said = "stated" if mark in said else "missing"
        yield Finding("events", f"at {mark[0]} ns", rule, f"{is_said}: {mark[1:]}")
