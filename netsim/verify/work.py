"""Checks what each task was asked for, and how long it computed."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np

from fl.contract import NOTHING, Job
from netsim.trace.rows import Task
from netsim.verify.clients import given_ranks
from netsim.verify.compare import check_equal
from netsim.verify.finding import Finding
from netsim.verify.known import Known
from netsim.verify.trace import NONE, Array, Mask, Trace


def check_task_ids(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield tasks that are not numbered from zero on, in the order of their starts."""
    if _are_numbered(trace, known):
        return
    tasks = trace.tasks_by_id
    for number, task in enumerate(tasks):
        if task.task_id != number:
            rule = "tasks must be numbered from zero on"
            yield Finding("tasks", f"task {task.task_id}", rule, f"expected {number}")
            return
    for before, task in pairwise(tasks):
        if task.download_start_ns < before.download_start_ns:
            rule = "tasks must be numbered in the order of their starts"
            detail = f"task {before.task_id} starts later"
            yield Finding("tasks", f"task {task.task_id}", rule, detail)
    rounds = known.rules.rounds
    if rounds is None or not rounds.is_numbered_by_client:
        return
    for before, task in pairwise(tasks):
        if task[1:3] <= before[1:3]:
            rule = "a round's tasks must be numbered by client"
            yield Finding("tasks", f"task {task.task_id}", rule, f"client {task[2]}")


def _are_numbered(trace: Trace, known: Known) -> bool:
    """Return whether tasks are numbered by start, and within a round by client."""
    found = trace.columns("tasks")
    order = np.argsort(found["task_id"], kind="stable")
    ids, starts_ns = found["task_id"][order], found["download_start_ns"][order]
    is_right = (ids == np.arange(len(ids))).all() and (np.diff(starts_ns) >= 0).all()
    rounds = known.rules.rounds
    if rounds is not None and rounds.is_numbered_by_client:
        more = np.diff(found["round_id"][order])
        is_next = (more > 0) | (more == 0) & (np.diff(found["client_id"][order]) > 0)
        is_right = is_right and is_next.all()
    return bool(is_right)


def check_phases(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield tasks that pause between two phases."""
    found = trace.columns("tasks")
    starts_ns = found["compute_start_ns"]
    is_right = (starts_ns == NONE) | (starts_ns == found["download_end_ns"])
    is_right &= found["upload_start_ns"] == found["compute_end_ns"]
    for task in trace.only(tasks=~is_right).tasks:
        where = f"task {task.task_id}"
        if task.compute_start_ns is not None:
            start = ("compute_start_ns", task.compute_start_ns, task.download_end_ns)
            yield from check_equal("tasks", where, start)
        upload = ("upload_start_ns", task.upload_start_ns, task.compute_end_ns)
        yield from check_equal("tasks", where, upload)


def check_task_ranks(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield tasks whose rank is not the one of the plan in force."""
    ranks_at, found = ranks_in_force(trace, known), trace.columns("tasks")
    is_right = np.zeros(len(found["rank"]), bool)
    starts = np.unique(trace.columns("plans")["round_id"])
    plan = np.searchsorted(starts, found["round_id"], side="right") - 1
    for place in np.unique(plan).tolist():
        own, ranks = plan == place, ranks_at(int(starts[place]))
        is_right[own] = found["rank"][own] == ranks[found["client_id"][own]]
    for task in trace.only(tasks=~is_right).tasks:
        rank = ranks_at(task.round_id)[task.client_id]
        claim = ("rank", task.rank, None if rank == NONE else rank)
        yield from check_equal("tasks", f"task {task.task_id}", claim)


def ranks_in_force(trace: Trace, known: Known) -> Callable[[int], Array]:
    """Return what tells the clients' ranks in a round; ``NONE`` without learning."""
    plans, policy = trace.columns("plans"), known.policy
    if policy is None or "decides-ranks" not in policy.traits:
        given = np.array(given_ranks(known))
        return lambda round_id: given
    ids = plans["round_id"]
    first = np.unique(ids).tolist()
    by_round = {n: plans["rank"][ids == n] for n in first}
    return lambda round_id: by_round[first[bisect_right(first, round_id) - 1]]


def check_compute(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield tasks whose work is not the model's, or whose duration is not what the
    device needs for it under the draw of its jitter."""
    learner, fleet = known.learner, known.population.fleet
    rest = ~_are_computed(trace, known)
    jobs = jobs_of(trace) if rest.any() else {}
    left = set(trace.columns("tasks")["task_id"][rest].tolist())
    for task, occasion in occasions(trace, known) if left else ():
        if task.task_id not in left:
            continue
        where = f"task {task.task_id}"
        if task.compute_start_ns is None:
            yield from check_equal("tasks", where, ("compute_flop", task[13], 0))
            continue
        work = learner.work(jobs[task.task_id])
        yield from check_equal("tasks", where, ("compute_flop", task[13], work.flop))
        span_ns = (
            fleet.compute_ns(task.client_id, occasion, work) if work != NOTHING else 0
        )
        end_ns = task.compute_start_ns + span_ns
        if task.compute_end_ns is not None:
            claim = ("compute_end_ns", task.compute_end_ns, end_ns)
            yield from check_equal("tasks", where, claim)
        elif task.end_ns > end_ns:
            rule = "a task that was cut while it computed ends before it was done"
            yield Finding("tasks", where, rule, f"end_ns {task.end_ns}, {end_ns}")


def _are_computed(trace: Trace, known: Known) -> Mask:
    """Return which tasks of rounds computed all that every client does, in the time
    that their devices need, where nothing is learned."""
    traits, found = known.scenario.learning.traits, trace.columns("tasks")
    is_alike = "trains-nothing" in traits and "differs-by-client" not in traits
    if not is_alike or known.rules.rounds is None:
        return np.zeros(len(found["rank"]), bool)
    work = known.learner.work(Job(0, 0, 1, "", None))
    spans_ns = found["compute_end_ns"] - found["compute_start_ns"]
    compute_ns = known.population.fleet.compute_ns
    users = zip(found["client_id"].tolist(), found["round_id"].tolist(), strict=True)
    due_ns = [compute_ns(*user, work) if work != NOTHING else 0 for user in users]
    is_right = (found["compute_start_ns"] != NONE) & (found["compute_end_ns"] != NONE)
    return np.asarray(
        is_right & (spans_ns == due_ns) & (found["compute_flop"] == work.flop)
    )


def occasions(trace: Trace, known: Known) -> Iterator[tuple[Task, int]]:
    """Yield every task with the number that names its draws: its round, or how often
    its client started before where a client may start twice in a round."""
    is_per_round = known.rules.rounds is not None
    starts: Counter[int] = Counter()
    for task in trace.tasks_by_id:
        yield task, task.round_id if is_per_round else starts[task.client_id]
        starts[task.client_id] += 1


def rounds_before_phases(trace: Trace) -> dict[int, int]:
    """Return the last round before each round's phase: a pilot, or training."""
    pilots = [event for event in trace.events if event.kind == "pilot"]
    rounds = [row for row in trace.rounds if row.phase == "pilot"]
    last_pilot = max((row.round_id for row in rounds), default=0)
    found = {row.round_id: last_pilot for row in trace.rounds}
    for pilot in pilots:  # in order
        ended = (r.round_id for r in rounds if r.end_ns <= pilot.time_ns)
        after = max(ended, default=0)
        found |= {row.round_id: after for row in rounds if row.round_id > after}
    return found


def jobs_of(trace: Trace) -> dict[int, Job]:
    """Return what a learner needs to know of each task, by its id."""
    before = rounds_before_phases(trace)
    return {
        task.task_id: Job(
            task.client_id,
            0,
            task.round_id,
            "",
            task.rank,
            after_round_id=before.get(task.round_id, 0),
        )
        for task in trace.tasks
    }
