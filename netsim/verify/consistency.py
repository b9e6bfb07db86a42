"""Checks that the tables agree with each other and that time runs forward."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa

from netsim.trace.rows import Event, Round, Task
from netsim.trace.schemas import SCHEMAS
from netsim.verify.cells import (
    Whereabouts,
    check_crossed,
    check_exchanges,
    check_handovers,
    check_places,
    check_wires,
)
from netsim.verify.drops import Drops
from netsim.verify.finding import Finding
from netsim.verify.messages import check_messages
from netsim.verify.trace import NONE, Mask, Places, Trace

TICK_J = 1e-7  # what a hundred watts use in one
BIG = ("tasks", "transfers", "segments", "bands", "clients", "plans")
STEPS = tuple(name for name in Task._fields if name.endswith("_ns"))  # in order


def check_consistency(trace: Trace) -> Iterator[Finding]:
    """Yield every disagreement between the tables of a complete trace."""
    yield from _check_ids(trace)
    yield from _check_signs(trace)
    for task in trace.only(tasks=~_are_in_order(trace)).tasks:
        yield from _check_task(task)
    whereabouts = Whereabouts(trace)
    yield from check_messages(trace, whereabouts)
    yield from _check_rounds(trace)
    yield from _check_edges(trace)
    yield from _check_clients(trace)
    yield from _check_weights(trace)
    yield from _check_times(trace)
    yield from _check_estimates(trace)
    yield from _check_updates(trace)
    yield from _check_phases(trace)
    yield from check_handovers(trace, whereabouts)
    yield from check_places(trace, whereabouts)
    yield from check_wires(trace.cells, trace.crossings)
    if trace.has_edges:
        yield from check_exchanges(trace)
        return
    yield from check_crossed(trace)


def _check_ids(trace: Trace) -> Iterator[Finding]:
    for table, noun in (("tasks", "task"), ("transfers", "transfer")):
        ids = trace.columns(table)[f"{noun}_id"]
        found, counts = np.unique(ids, return_counts=True)
        for number, times in zip(found[counts > 1], counts[counts > 1], strict=True):
            rule, detail = "an id must be unique", f"{times} rows have it"
            yield Finding(table, f"{noun} {number}", rule, detail)


def _check_signs(trace: Trace) -> Iterator[Finding]:
    """Yield columns of whole numbers with a negative one: ``NONE`` is only null."""
    for table in BIG:
        rows, schema = trace.columns(table), SCHEMAS[table]
        for field in schema:
            if pa.types.is_integer(field.type):
                is_wrong = rows[field.name] < (NONE if field.nullable else 0)
                for place in np.flatnonzero(is_wrong)[:1]:
                    where, value = f"row {place}", str(rows[field.name][place])
                    rule = f"{field.name} must not be negative"
                    yield Finding(table, where, rule, value)


def _are_in_order(trace: Trace) -> Mask:
    """Return which tasks have all their times, in order, and are merged if done."""
    tasks = trace.columns("tasks")
    times = [tasks[name] for name in STEPS]
    is_right = np.all([one <= two for one, two in pairwise(times)], axis=0)
    is_right &= np.all([one != NONE for one in times], axis=0)
    is_merged = tasks["merged_round_id"] != NONE
    stale = np.where(is_merged, tasks["merged_round_id"] - tasks["round_id"], NONE)
    is_right &= (tasks["staleness"] == stale) & (stale >= NONE)
    return np.asarray(is_right & ((tasks["status"] == "done") == is_merged))


def _check_task(task: Task) -> Iterator[Finding]:
    """Yield times out of order, and a merge that contradicts the status."""
    where = f"task {task.task_id}"
    times = [(name, getattr(task, name)) for name in STEPS]
    known = [(name, time_ns) for name, time_ns in times if time_ns is not None]
    for (name, time_ns), (later, later_ns) in pairwise(known):
        if time_ns > later_ns:
            detail = f"{name} {time_ns}, {later} {later_ns}"
            yield Finding("tasks", where, "a task's times must be in order", detail)
    for (name, time_ns), (later, later_ns) in pairwise(times[:-1]):
        if time_ns is None and later_ns is not None:
            detail = f"{name} is null, {later} {later_ns}"
            yield Finding("tasks", where, "a task must not skip a step", detail)
    if task.staleness != _staleness(task):
        rule = "staleness must be the rounds from a task's own to its merge"
        detail = f"round {task.round_id}, merged {task.merged_round_id}"
        yield Finding("tasks", where, rule, f"{detail}, staleness {task.staleness}")
    if (task.status == "done") != (task.merged_round_id is not None):
        rule = "a task must be merged if and only if it is done"
        detail = f"status {task.status}, merged_round_id {task.merged_round_id}"
        yield Finding("tasks", where, rule, detail)


def _staleness(task: Task) -> int | None:
    merged = task.merged_round_id
    return None if merged is None else merged - task.round_id


def _check_rounds(trace: Trace) -> Iterator[Finding]:
    """Yield rounds whose counts are not those of their tasks."""
    written: dict[int, Counter[str]] = defaultdict(Counter)
    for row in trace.rounds:
        if row.server_id == trace.cloud_id:  # counts edges
            continue
        written[row.round_id]["num_sampled"] += row.num_sampled
        written[row.round_id]["num_merged"] += row.num_merged
        written[row.round_id]["num_dropped"] += row.num_dropped
    counted: dict[int, Counter[str]] = defaultdict(Counter)
    tasks = trace.columns("tasks")
    is_merged = tasks["merged_round_id"] != NONE
    for name, ids in (
        ("num_sampled", tasks["round_id"]),
        ("num_merged", tasks["merged_round_id"][is_merged]),
    ):
        for round_id, number in zip(*np.unique(ids, return_counts=True), strict=True):
            counted[int(round_id)][name] = int(number)
    drops = Drops(trace.only(tasks=~is_merged))
    for round_id in sorted(written.keys() | counted.keys() | drops.sure.keys()):
        said = written[round_id]
        counted[round_id]["num_dropped"] = drops.nearest(round_id, said["num_dropped"])
        for name in ("num_sampled", "num_merged", "num_dropped"):
            found = counted[round_id][name]
            if said[name] != found:
                rule = f"{name} must match tasks"
                detail = f"row {said[name]}, tasks {found}"
                yield Finding("rounds", f"round {round_id}", rule, detail)


def _check_edges(trace: Trace) -> Iterator[Finding]:
    """Yield merges of the cloud that precede an edge's round of the same number, or
    that count another number of edges."""
    edges: dict[int, list[Round]] = defaultdict(list)
    for row in trace.rounds:
        edges[row.round_id].append(row)
    for row in trace.rounds:
        if row.server_id != trace.cloud_id:
            continue
        own = [edge for edge in edges[row.round_id] if edge is not row]
        ids = {edge.server_id for edge in own}
        last_ns = max((edge.end_ns for edge in own), default=row.end_ns)
        is_counted = row[5:] == (len(ids), len(ids), 0) and len(own) == len(ids)
        if not is_counted or last_ns > row.end_ns:
            rule = "the cloud must merge every edge after its round"
            detail = f"{row.num_merged} merged of {len(own)}, the last at {last_ns} ns"
            yield Finding("rounds", f"round {row.round_id}", rule, detail)


def _check_clients(trace: Trace) -> Iterator[Finding]:
    """Yield clients with two tasks at a time, or with a task on an empty battery, and
    batteries that are empty although their clients' tasks have not used them up."""
    empty = {e.client_id: e for e in trace.events if e.kind == "battery empty"}
    of_client: dict[int, list[Task]] = defaultdict(list)
    for task in (trace if empty else trace.only(tasks=_are_crowded(trace))).tasks:
        of_client[task.client_id].append(task)
    for client_id, tasks in of_client.items():
        tasks.sort(key=lambda task: (task.download_start_ns, task.end_ns))
        for before, task in pairwise(tasks):
            if task.download_start_ns < before.end_ns:
                rule = "a client must be at one task at a time"
                detail = f"task {before.task_id} ends at {before.end_ns} ns"
                yield Finding("tasks", f"task {task.task_id}", rule, detail)
        if client_id in empty:
            yield from _check_battery(empty[client_id], tasks)
    is_empty = trace.columns("tasks")["status"] == "battery"
    for task in trace.only(tasks=is_empty).tasks:
        if task.client_id not in empty:
            rule = "an exhausted client must have an event 'battery empty'"
            yield Finding("tasks", f"task {task.task_id}", rule, "there is none")


def _are_crowded(trace: Trace) -> Mask:
    """Return which tasks are of a client with two at a time."""
    tasks = trace.columns("tasks")
    ids, ends_ns = tasks["client_id"], tasks["end_ns"]
    order = np.lexsort((ends_ns, tasks["download_start_ns"], ids))
    before, after = order[:-1], order[1:]
    is_both = (ids[before] == ids[after]) & (
        tasks["download_start_ns"][after] < ends_ns[before]
    )
    return np.isin(ids, ids[after[is_both]])


def _check_battery(event: Event, tasks: Sequence[Task]) -> Iterator[Finding]:
    where = f"event {event.sequence}"
    last_ns = max(task.end_ns for task in tasks)
    if last_ns > event.time_ns:
        rule, detail = "nothing runs on an empty battery", f"a task until {last_ns} ns"
        yield Finding("events", where, rule, detail)
    try:
        capacity_j = float(event.detail.removesuffix(" J"))
    except ValueError:
        yield Finding("events", where, "a capacity must be in joules", event.detail)
        return
    spent_j = math.fsum(
        task.compute_energy_j + task.transmit_energy_j + task.idle_energy_j
        for task in tasks
    )
    if not math.isclose(spent_j, capacity_j, rel_tol=1e-6, abs_tol=TICK_J):
        rule, detail = "a battery is empty when it is spent", f"tasks took {spent_j} J"
        yield Finding("events", where, rule, f"{detail} of {event.detail}")


def _check_weights(trace: Trace) -> Iterator[Finding]:
    """Yield numbers that are not finite, and probabilities outside 0 to 1."""
    rule = "must be a finite number"
    weights = trace.columns("clients")["weight"]
    for weight in weights[~((weights >= 0) & (weights <= 1))]:
        yield Finding("clients", "", "a weight must be 0 to 1", str(weight))
    names, tasks = ("weight", "compute_energy_j", "transmit_energy_j"), trace.columns
    is_wrong = [~np.isfinite(tasks("tasks")[name]) for name in names]  # nan: or null
    for task in trace.only(tasks=np.any(is_wrong, axis=0)).tasks:
        for name in names:
            value = getattr(task, name)
            if value is not None and not math.isfinite(value):
                where = f"task {task.task_id}"
                yield Finding("tasks", where, f"{name} {rule}", str(value))
    chances = trace.columns("plans")["sampling_probability"]
    for chance in chances[(chances < 0) | (chances > 1)]:
        rule = "a probability must be 0 to 1"
        yield Finding("plans", "", rule, str(chance))


def _check_times(trace: Trace) -> Iterator[Finding]:
    """Yield rounds, evaluations and events outside the run or out of order."""
    end_ns = trace.sim_time_ns
    for row in trace.rounds:
        if not 0 <= row.start_ns <= row.end_ns <= end_ns:
            detail = f"{row.start_ns} to {row.end_ns} ns, the run ends at {end_ns}"
            rule = "a round must lie within the run"
            yield Finding("rounds", f"round {row.round_id}", rule, detail)
    for score in trace.evals:
        if not 0 <= score.time_ns <= end_ns:
            detail = f"time_ns {score.time_ns}, the run ends at {end_ns}"
            rule = "an evaluation must lie within the run"
            yield Finding("evals", f"round {score.round_id}", rule, detail)
    for before, event in pairwise(trace.events):
        is_later = event.sequence > before.sequence and event.time_ns >= before.time_ns
        if not is_later:
            detail = f"{event[:2]} after {before[:2]}"
            rule = "sequence and time must increase"
            yield Finding("events", f"event {event.sequence}", rule, detail)


def _check_estimates(trace: Trace) -> Iterator[Finding]:
    """Yield estimates that are not finite, or of an unknown client or time."""
    clients = Places(trace.columns("clients")["client_id"])
    own = trace.columns("estimates")["client_id"]
    strangers = {int(n) for n in own[(clients.of(own) < 0) & (own != NONE)]}
    for row in trace.estimates:
        error, where = row.standard_error, f"{row.name}, round {row.round_id}"
        if not math.isfinite(row.value):
            rule = "a value must be a finite number"
            yield Finding("estimates", where, rule, str(row.value))
        if error is not None and not 0 <= error < math.inf:
            rule = "a standard error must be finite and not negative"
            yield Finding("estimates", where, rule, str(error))
        if row.client_id in strangers:
            rule = "a client must be one of clients"
            yield Finding("estimates", where, rule, f"client {row.client_id}")
        if not 0 <= row.time_ns <= trace.sim_time_ns:
            detail = f"time_ns {row.time_ns}, the run ends at {trace.sim_time_ns}"
            rule = "an estimate must lie within the run"
            yield Finding("estimates", where, rule, detail)


def _check_updates(trace: Trace) -> Iterator[Finding]:
    """Yield updates that no merge of their round and time took, and merged tasks
    without one where others have it."""
    if not trace.updates:
        return
    tasks = {task.task_id: task for task in trace.tasks}
    ends = {(row.round_id, row.end_ns) for row in trace.rounds}
    seen = set[int]()
    for row in trace.updates:
        task, where = tasks.get(row.task_id), f"task {row.task_id}"
        merged = None if task is None else task.merged_round_id
        is_lost = task is not None and task.status == "diverged"
        if row.task_id in seen or (merged != row.round_id and not is_lost):
            detail = f"round {row.round_id}, the task's is {merged}"
            yield Finding("updates", where, "an update must be a merged one", detail)
        if (row.round_id, row.time_ns) not in ends:
            rule = "an update must be merged at its round's end"
            yield Finding("updates", where, rule, f"time_ns {row.time_ns}")
        seen.add(row.task_id)
    for task in trace.tasks:
        if task.merged_round_id is not None and task.task_id not in seen:
            rule = "each merged update must be told, where others are"
            yield Finding("updates", f"task {task.task_id}", rule, "no row")


def _check_phases(trace: Trace) -> Iterator[Finding]:
    """Yield pilot rounds after training, and evaluations of another phase than their
    round's."""
    phases = {row.round_id: row.phase for row in trace.rounds}
    last_pilot = max((n for n, phase in phases.items() if phase == "pilot"), default=0)
    for row in trace.rounds:
        if row.phase != "pilot" and row.round_id <= last_pilot:
            rule = "pilots must come before all training"
            detail = f"round {last_pilot} is a pilot's"
            yield Finding("rounds", f"round {row.round_id}", rule, detail)
    for score in trace.evals:
        is_start = score.round_id in (0, last_pilot)  # of pilots, or of training
        if not is_start and score.phase != phases.get(score.round_id):
            rule = "an evaluation must be of its round's phase"
            detail = f"{score.phase}, the round's is {phases.get(score.round_id)}"
            yield Finding("evals", f"round {score.round_id}", rule, detail)
