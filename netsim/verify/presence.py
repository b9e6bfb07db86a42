"""Checks that clients were available during their tasks, and left at the right tick."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter

from netsim.availability import Presence
from netsim.core.clock import MAX_NS
from netsim.trace.rows import Task
from netsim.verify.finding import Finding
from netsim.verify.known import Known
from netsim.verify.trace import Trace


def check_presence(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield tasks of clients that were away, and tasks with status `left` whose client
    did not leave then; the scenario's availability is drawn again for this."""
    scenario = known.scenario
    presence = Presence(known.availability, scenario.seed)
    if "comes-and-goes" not in known.availability.traits:
        trace = trace.only(tasks=trace.columns("tasks")["status"] == "left")
    for task in sorted(trace.tasks, key=attrgetter("download_start_ns", "task_id")):
        yield from _check(task, presence)


def _check(task: Task, presence: Presence) -> Iterator[Finding]:
    where = f"task {task.task_id}"
    is_here, change_ns = presence.at(task.client_id, task.download_start_ns)
    if not is_here:
        rule, detail = "a client must be there when it begins", f"back at {change_ns}"
        yield Finding("tasks", where, rule, f"{detail} ns")
        return
    while is_here and change_ns < min(task.end_ns, MAX_NS):
        is_here, change_ns = presence.at(task.client_id, change_ns)
    if not is_here:
        rule = "a client must not go on when it has left"
        yield Finding("tasks", where, rule, f"it ends at {task.end_ns} ns")
    elif task.status == "left" and change_ns != task.end_ns:
        rule = "who leaves must do so at its tick"
        detail = f"it ends at {task.end_ns}, and leaves at {change_ns} or later"
        yield Finding("tasks", where, rule, detail)
