"""Checks that clients were available during their tasks, and left at the right tick."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Annotated

from pydantic import TypeAdapter, ValidationError

from netsim.availability import AVAILABILITIES, Availability, Presence
from netsim.core.clock import MAX_NS
from netsim.scenario import OneOf, is_loaded
from netsim.trace.rows import Task
from netsim.verify.finding import Finding

ALWAYS = {"kind": "always"}


def check_presence(
    scenario: Mapping[str, object], tasks: Sequence[Task], folder: Path
) -> Iterator[Finding]:
    """Yield tasks of clients that were away, and tasks with status `left` whose client
    did not leave then; the scenario's availability is drawn again for this."""
    population = scenario.get("population")
    section = population.get("availability") if isinstance(population, dict) else None
    seed = scenario.get("seed")
    if section is None or section == ALWAYS or not isinstance(seed, int):
        return
    try:
        availability = _read(section, folder)
    except ValidationError as error:
        detail = str(error.errors()[0]["msg"])
        rule = "the availability must be readable, to be drawn again"
        yield Finding("scenario.yaml", "population.availability", rule, detail)
        return
    if not is_loaded(availability):  # an auditor runs no code of the audited
        return
    presence = Presence(availability, seed)
    for task in sorted(tasks, key=attrgetter("download_start_ns", "task_id")):
        yield from _check(task, presence)


def _read(section: object, folder: Path) -> Availability:
    kind: TypeAdapter[Availability] = TypeAdapter(
        Annotated[Availability, OneOf(AVAILABILITIES)]
    )
    context = {"source": "yaml", "folder": folder, "code": None}
    return kind.validate_python(section, context=context)


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
