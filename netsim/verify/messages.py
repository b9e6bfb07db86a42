"""Do transfers and arrivals carry what their tasks asked for, when they did?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from netsim.trace.rows import Arrival, Client, Task, Transfer
from netsim.verify.finding import Finding

LOST = frozenset({"failed", "outage"})  # attempts after which another one may come


class Carried(NamedTuple):
    """What one direction of a task asked for, and when."""

    task: Task
    name: str  # of the phase: download, upload
    bits: int
    start_ns: int
    end_ns: int  # its last tick, finished or cut
    is_finished: bool


def check_messages(
    clients: Sequence[Client],
    tasks: Sequence[Task],
    transfers: Sequence[Transfer],
    arrivals: Sequence[Arrival],
) -> Iterator[Finding]:
    """Yield transfers that do not carry what their task asked for, when it did."""
    yield from _check_arrivals(transfers, arrivals)
    arrived_ns = {row.transfer_id: row.arrival_ns for row in arrivals}
    cells = {client.client_id: client.cell_id for client in clients}
    own: dict[tuple[int, str], list[Transfer]] = defaultdict(list)
    broadcast: dict[tuple[int, int], list[Transfer]] = defaultdict(list)
    for transfer in sorted(transfers, key=lambda row: (row.start_ns, row.transfer_id)):
        if transfer.task_id is None:
            broadcast[transfer.round_id, transfer.cell_id].append(transfer)
        else:
            own[transfer.task_id, transfer.direction].append(transfer)
    for task in tasks:
        down = own.pop((task.task_id, "down"), [])
        common = broadcast[task.round_id, cells.get(task.client_id, -1)]
        if sum(transfer.bits for transfer in down) == task.download_bits:
            common = []  # it needed nothing of the broadcast
        yield from _check_carried(_download(task), common, down, arrived_ns)
        up = own.pop((task.task_id, "up"), [])
        yield from _check_carried(_upload(task), [], up, arrived_ns)
    for (task_id, direction), orphans in own.items():
        where = f"transfer {orphans[0].transfer_id}"
        detail = f"task {task_id}, direction {direction}: tasks has no such row"
        yield Finding("transfers", where, "a transfer must have its task", detail)


def _check_arrivals(
    transfers: Sequence[Transfer], arrivals: Sequence[Arrival]
) -> Iterator[Finding]:
    """Yield arrivals of nothing, twice, or before the last bit."""
    done = {row.transfer_id: row.end_ns for row in transfers if row.status == "done"}
    for row in arrivals:
        end_ns = done.pop(row.transfer_id, None)
        where = f"transfer {row.transfer_id}"
        if end_ns is None:
            rule = "an arrival must be of one transfer that is done"
            detail = "transfers has none such, or it arrived before"
            yield Finding("arrivals", where, rule, detail)
        elif row.arrival_ns < end_ns:
            rule = "an arrival must not come before the last bit"
            detail = f"arrival_ns {row.arrival_ns}, the transfer ends at {end_ns}"
            yield Finding("arrivals", where, rule, detail)


def _download(task: Task) -> Carried:
    is_cut = task.compute_start_ns is None or task.download_end_ns is None
    end_ns = task.end_ns if is_cut else task.download_end_ns
    assert end_ns is not None
    start_ns = task.download_start_ns
    return Carried(task, "download", task.download_bits, start_ns, end_ns, not is_cut)


def _upload(task: Task) -> Carried:
    start_ns = task.end_ns if task.upload_start_ns is None else task.upload_start_ns
    is_finished = task.status == "done"
    return Carried(task, "upload", task.upload_bits, start_ns, task.end_ns, is_finished)


def _check_carried(
    carried: Carried,
    common: Sequence[Transfer],
    own: Sequence[Transfer],
    arrived_ns: Mapping[int, int],
) -> Iterator[Finding]:
    """Yield where transfers do not add up to the task's bits within its interval."""
    task, name = carried.task, carried.name
    where = f"task {task.task_id}"
    transfers = [*common, *own]
    bits = sum(transfer.bits for transfer in transfers)
    if bits != carried.bits:
        rule = f"transfers must carry the {name}'s bits"
        yield Finding("tasks", where, rule, f"task {carried.bits}, transfers {bits}")
    for transfer in transfers:
        if transfer.start_ns < carried.start_ns or transfer.end_ns > carried.end_ns:
            detail = (
                f"transfer {transfer.transfer_id} {transfer.start_ns} to "
                f"{transfer.end_ns} ns, {name} {carried.start_ns} to {carried.end_ns}"
            )
            yield Finding("tasks", where, f"transfers must lie in the {name}", detail)
        asked = (task.round_id, task.client_id)
        if transfer.client_id is not None and asked != transfer[2:4]:
            rule = "a transfer must be of its task's round and client"
            detail = f"transfer {transfer[2:4]}, task {asked}"
            yield Finding("transfers", f"transfer {transfer.transfer_id}", rule, detail)
    yield from _check_attempts(carried, common, own)
    if carried.is_finished and transfers:
        yield from _check_span(carried, common, own, arrived_ns)


def _check_attempts(
    carried: Carried, common: Sequence[Transfer], own: Sequence[Transfer]
) -> Iterator[Finding]:
    """Yield attempts that go on after one that was not lost, at once, or with other
    bits, and a finished phase without one that went through."""
    where = f"task {carried.task.task_id}"
    for before, after in pairwise(own):
        if before.status not in LOST or after.start_ns < before.end_ns:
            rule = "a transfer must be lost before the same is sent again"
            detail = (
                f"transfer {before.transfer_id} is {before.status} at {before.end_ns}"
                f" ns, transfer {after.transfer_id} starts at {after.start_ns}"
            )
            yield Finding("transfers", where, rule, detail)
        if before.bits != after.bits:
            rule = "every attempt must be of the same bits"
            detail = f"transfers {before.transfer_id} and {after.transfer_id} are not"
            yield Finding("transfers", where, rule, detail)
    last = [*common, *own][-1:]
    if carried.is_finished and last and last[0].status != "done":
        rule = f"a finished {carried.name}'s last transfer must be done"
        detail = f"transfer {last[0].transfer_id} is {last[0].status}"
        yield Finding("tasks", where, rule, detail)


def _check_span(
    carried: Carried,
    common: Sequence[Transfer],
    own: Sequence[Transfer],
    arrived_ns: Mapping[int, int],
) -> Iterator[Finding]:
    """Yield a phase that does not begin with its broadcast, or does not end when its
    last message is there."""
    where = f"task {carried.task.task_id}"
    transfers = [*common, *own]
    end_ns = max(arrived_ns.get(row.transfer_id, row.end_ns) for row in transfers)
    if end_ns != carried.end_ns:
        rule = f"{_article(carried.name)} must end when its last message is there"
        detail = f"it ends at {carried.end_ns} ns, the message is there at {end_ns}"
        yield Finding("tasks", where, rule, detail)
    start_ns = min(transfer.start_ns for transfer in transfers)
    if common and start_ns != carried.start_ns:
        rule = "a download must begin with its broadcast"
        detail = f"it begins at {carried.start_ns} ns, the broadcast at {start_ns}"
        yield Finding("tasks", where, rule, detail)


def _article(name: str) -> str:
    return f"an {name}" if name == "upload" else f"a {name}"
