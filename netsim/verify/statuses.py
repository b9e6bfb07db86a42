"""Checks that each task and transfer ended at the time and in the way of its status."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from netsim.trace.rows import Crossing, Task, Transfer
from netsim.verify.compare import check_equal
from netsim.verify.finding import Finding
from netsim.verify.known import Known
from netsim.verify.trace import NONE, Mask, Trace, joined

ENDS_MESSAGES = frozenset({"done", "failed", "outage", "late"})


def check_ranges(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield rows of clients or cells that the scenario does not have, tasks that end
    after the run, or have a rank where nothing is learned, and none where it is."""
    learns = known.scenario.learning.federated is not None
    tasks, sent = trace.columns("tasks"), trace.columns("transfers")
    is_right = (tasks["client_id"] >= 0) & (tasks["client_id"] < known.num_clients)
    is_right &= (tasks["download_start_ns"] >= 0) & ((tasks["rank"] != NONE) == learns)
    is_right &= tasks["download_start_ns"] <= tasks["end_ns"]
    is_right &= tasks["end_ns"] <= trace.sim_time_ns
    for task in trace.only(tasks=~is_right).tasks:
        where = f"task {task.task_id}"
        if not 0 <= task.client_id < known.num_clients:
            rule = "a client must be one of the scenario's"
            yield Finding("tasks", where, rule, f"client {task.client_id}")
        if not 0 <= task.download_start_ns <= task.end_ns <= trace.sim_time_ns:
            rule = "a task must lie within the run"
            yield Finding("tasks", where, rule, f"end_ns {task.end_ns}")
        if (task.rank is not None) != learns:
            rule = "a task has a rank where a model learns"
            yield Finding("tasks", where, rule, f"rank {task.rank}")
    num_cells = len(known.scenario.network.cells)
    is_own = (sent["client_id"] >= 0) & (sent["task_id"] >= 0)
    is_own &= (sent["client_id"] < known.num_clients) & (sent["cell_id"] >= 0)
    is_own &= sent["cell_id"] < num_cells
    for transfer in trace.only(transfers=~is_own).transfers:
        yield from _check_transfer(transfer, known.num_clients, num_cells)
    for crossing in trace.crossings:
        yield from _check_receiver("crossing", crossing)


def _check_transfer(
    transfer: Transfer, num_clients: int, num_cells: int
) -> Iterator[Finding]:
    where = f"transfer {transfer.transfer_id}"
    client_id = 0 if transfer.client_id is None else transfer.client_id
    is_known = 0 <= client_id < num_clients
    if not is_known or not 0 <= transfer.cell_id < num_cells:
        rule = "client and cell must be the scenario's"
        yield Finding("transfers", where, rule, f"{transfer[3:5]}")
    yield from _check_receiver("transfer", transfer)
    if transfer.task_id is None and transfer.direction == "up":
        rule = "an upload must be a task's"
        yield Finding("transfers", where, rule, "it has none")


def _check_receiver(noun: str, row: Transfer | Crossing) -> Iterator[Finding]:
    if (row.task_id is None) != (row.client_id is None):
        rule = "a message has a task and a client, a broadcast neither"
        yield Finding(f"{noun}s", f"{noun} {row[0]}", rule, f"{row[1:4]}")


def check_statuses(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield tasks and messages whose end contradicts their status."""
    rest = ~_are_done(trace)
    kept = trace.only(tasks=rest, transfers=joined(trace).messages_of(rest))
    of_task: dict[int, list[Transfer]] = defaultdict(list)
    for row in kept.transfers:
        if row.task_id is not None:
            of_task[row.task_id].append(row)
    askers = {}
    if trace.crossings:
        askers = {task.task_id: task[1:3] for task in trace.tasks}
    for crossing in trace.crossings:
        if crossing.task_id is not None:
            asker = ("task", crossing[3:7:3], askers.get(crossing.task_id))
            where = f"crossing {crossing.crossing_id}"
            yield from check_equal("crossings", where, asker)
    for task in kept.tasks:
        own = sorted(of_task.get(task.task_id, []), key=lambda row: row.start_ns)
        yield from _check_messages(task, own)
        yield from _check_end(trace, known, task, own)


def _are_done(trace: Trace) -> Mask:
    """Return which tasks are done with a weight, and sent everything to its end."""
    both = joined(trace)
    tasks, is_cut = both.tasks, both.transfers["status"] != "done"
    num_cut = np.bincount(
        both.task[is_cut & (both.task >= 0)], minlength=len(tasks["task_id"])
    )
    is_done = (tasks["status"] == "done") & ~np.isnan(tasks["weight"])
    is_done &= tasks["upload_start_ns"] != NONE
    return np.asarray(is_done & (num_cut == 0) & both.are_unique)


def _check_messages(task: Task, own: list[Transfer]) -> Iterator[Finding]:
    """Yield messages that were cut for another reason than their task."""
    for transfer in own:
        where = f"transfer {transfer.transfer_id}"
        may_be = {"done", "failed", "outage"}
        if transfer is own[-1] and transfer.end_ns == task.end_ns:
            may_be.add(task.status)
        if transfer.status not in may_be - {"unmerged", "diverged"}:
            rule = "a message must be cut only with its task"
            detail = f"{transfer.status}, task {task.task_id} is {task.status}"
            yield Finding("transfers", where, rule, detail)


def _check_end(
    trace: Trace, known: Known, task: Task, own: list[Transfer]
) -> Iterator[Finding]:
    where = f"task {task.task_id}"
    has_arrived = task.upload_start_ns is not None and (
        not own or own[-1].direction == "down" or own[-1].status == "done"
    )
    if task.status in ("done", "unmerged", "diverged") and not has_arrived:
        rule = "an update must have arrived to be merged or left over"
        yield Finding("tasks", where, rule, task.status)
    if task.status == "unfinished":
        yield from check_equal(
            "tasks", where, ("end_ns", task.end_ns, trace.sim_time_ns)
        )
    if task.status in ("failed", "outage") and own and own[-1].status != task.status:
        rule = "a task that failed must have lost its last message so"
        yield Finding("tasks", where, rule, f"{task.status}, {own[-1].status}")
    if (task.status == "surplus" and not has_arrived) or task.status == "late":
        row = next((r for r in trace.rounds if r.round_id == task.round_id), None)
        if row is None or not row.start_ns <= task.end_ns <= row.end_ns:
            rule = "a task that was cut must end in its round"
            yield Finding("tasks", where, rule, f"end_ns {task.end_ns}")
    is_weighed = task.weight is not None or known.is_app
    if not is_weighed and task.status in ("done", "diverged"):
        yield Finding(
            "tasks", where, "a merged update must have a weight", "it is null"
        )


def check_buffer_weights(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield updates of a buffer whose weight is not the server's for their staleness;
    updates that were not merged have none."""
    rules = known.rules.buffer
    if rules is None:
        return
    weights = known.population.data_weights
    for task in trace.tasks:
        if task.status == "diverged":
            continue
        expected = None
        if task.staleness is not None:
            data = len(weights) * float(weights[task.client_id])
            expected = rules.weigh(data, task.staleness)
        elif task.status == "server-down" and task.weight is not None:
            continue  # it was lost while the server merged
        yield from check_equal(
            "tasks", f"task {task.task_id}", ("weight", task.weight, expected)
        )
