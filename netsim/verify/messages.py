"""Checks that transfers and arrivals carry their tasks' bits in the tasks' time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from netsim.trace.rows import Arrival, Crossing, Task, Transfer
from netsim.verify.cells import Whereabouts
from netsim.verify.finding import Finding
from netsim.verify.trace import NONE, Array, Joined, Mask, Places, Trace, joined

LOST = frozenset({"failed", "outage"})  # attempts after which another one may come


class Carried(NamedTuple):
    """The bits that one direction of a task needs, and its interval."""

    task: Task
    name: str  # of the phase: download, upload
    bits: int
    start_ns: int
    end_ns: int  # its last tick, finished or cut
    is_finished: bool


class Messages(NamedTuple):
    """Transfers over bands, their arrivals, and messages over backhauls."""

    transfers: Sequence[Transfer]
    arrivals: Sequence[Arrival]
    crossings: Sequence[Crossing]


class Route(NamedTuple):
    """The transfers of one task in one direction: the broadcast's and its own."""

    common: Sequence[Transfer]
    own: Sequence[Transfer]
    wired: Sequence[Crossing]

    @property
    def bits(self) -> int:
        """Return the bits that were sent, or were lost on the backhaul before."""
        lost = sum(
            crossing.bits
            for crossing in self.wired
            if crossing.status != "done" and crossing.direction == "down"
        )
        return lost + sum(transfer.bits for transfer in (*self.common, *self.own))


def check_messages(trace: Trace, where: Whereabouts) -> Iterator[Finding]:
    """Yield transfers that do not carry their task's bits within its interval."""
    arrived = np.isin(
        trace.columns("transfers")["transfer_id"],
        trace.columns("arrivals")["transfer_id"],
    )
    yield from _check_arrivals(trace.only(transfers=arrived).transfers, trace.arrivals)
    rest = ~_are_ordinary(trace, where)
    kept = trace.only(tasks=rest, transfers=joined(trace).messages_of(rest))
    crossings = () if trace.has_edges else trace.crossings
    messages = Messages(kept.transfers, trace.arrivals, crossings)
    yield from _check_tasks(kept.tasks, messages, where)


def _are_ordinary(trace: Trace, where: Whereabouts) -> Mask:
    """Return which tasks have one message each way, or one broadcast, and nothing is
    wrong with it: these need no look one by one."""
    both = joined(trace)
    is_plain = not trace.crossings and not where.has_moves and both.are_unique
    if not is_plain or not len(both.task):
        return np.zeros(len(both.tasks["task_id"]), bool)
    cells = where.homes_of(both.tasks["client_id"])
    return _are_downloaded(both, cells) & _are_uploaded(both)


def _are_downloaded(both: Joined, cells: Array) -> Mask:
    """Return which tasks' downloads are one message, or their cell's broadcast, which
    has their bits and ends with them."""
    tasks, sent, down = both.tasks, both.transfers, both.sent("down")
    common = _broadcasts(both, cells)
    is_own = down.number == 1
    place = np.where(is_own, down.place, common)
    is_right = is_own | ((down.number == 0) & (common >= 0))
    is_right &= tasks["compute_start_ns"] != NONE
    is_right &= tasks["download_end_ns"] == both.there_ns[place]
    is_right &= sent["end_ns"][place] <= tasks["download_end_ns"]
    is_right &= sent["bits"][place] == tasks["download_bits"]
    is_right &= sent["status"][place] == "done"
    late_ns = sent["start_ns"][place] - tasks["download_start_ns"]
    is_begun = (late_ns >= 0) & _are_asked(both, down.place)
    is_right &= np.where(is_own, is_begun, late_ns == 0)
    is_right |= (down.number == 0) & (tasks["download_bits"] == 0)
    return np.asarray(is_right)


def _are_uploaded(both: Joined) -> Mask:
    """Return which tasks' uploads are one message, which has their bits and, where they
    are done, ends with them."""
    tasks, sent, up = both.tasks, both.transfers, both.sent("up")
    place = up.place
    is_right = (up.number == 1) & _are_asked(both, place)
    is_right &= tasks["upload_start_ns"] != NONE
    is_right &= sent["start_ns"][place] >= tasks["upload_start_ns"]
    is_right &= sent["end_ns"][place] <= tasks["end_ns"]
    is_right &= sent["bits"][place] == tasks["upload_bits"]
    is_there = both.there_ns[place] == tasks["end_ns"]
    is_there &= sent["status"][place] == "done"
    is_right &= (tasks["status"] != "done") | is_there
    is_right |= (up.number == 0) & (tasks["upload_bits"] == 0)
    return np.asarray(is_right)


def _broadcasts(both: Joined, cells: Array) -> Array:
    """Return where each task's broadcast is, that of its round and cell; -1 where there
    is none, or several."""
    sent, is_common = both.transfers, both.is_common
    width = int(sent["cell_id"].max(initial=0))
    keys = sent["round_id"][is_common] * (width + 1) + sent["cell_id"][is_common]
    ids, first, number = np.unique(keys, return_index=True, return_counts=True)
    found = Places(ids).of(both.tasks["round_id"] * (width + 1) + cells)
    place = np.flatnonzero(is_common)[first]
    is_one = (found >= 0) & (cells >= 0) & (cells <= width)
    if not len(ids):
        return np.full(len(cells), -1)
    return np.where(is_one & (number[found] == 1), place[found], -1)


def _are_asked(both: Joined, place: Array) -> Array:
    """Return whether messages are of their tasks' rounds and clients."""
    tasks, sent = both.tasks, both.transfers
    is_round = sent["round_id"][place] == tasks["round_id"]
    return np.asarray(is_round & (sent["client_id"][place] == tasks["client_id"]))


def _check_tasks(
    tasks: Sequence[Task], messages: Messages, where: Whereabouts
) -> Iterator[Finding]:
    arrived_ns = {row.transfer_id: row.arrival_ns for row in messages.arrivals}
    sent, wired = _sorted(messages.transfers), _sorted(messages.crossings)
    for task in tasks:
        cell_id = where.at(task.client_id, task.download_start_ns)
        own = (task.task_id, "down")
        down = Route((), sent.own.pop(own, []), wired.own[own])
        if down.bits != task.download_bits:  # the rest was in the broadcast
            common = (task.round_id, cell_id)
            crossed = [*wired.common[common], *down.wired]
            down = Route(sent.common[common], down.own, crossed)
        yield from _check_carried(_download(task), down, arrived_ns)
        own = (task.task_id, "up")
        up = Route((), sent.own.pop(own, []), wired.own[own])
        yield from _check_carried(_upload(task), up, arrived_ns)
    for (task_id, direction), orphans in sent.own.items():
        name = f"transfer {orphans[0].transfer_id}"
        detail = f"task {task_id}, direction {direction}: tasks has no such row"
        yield Finding("transfers", name, "a transfer must have its task", detail)


Row = TypeVar("Row", Transfer, Crossing)


class Sorted(NamedTuple, Generic[Row]):
    """Messages by task and direction, broadcasts by round and cell, in order."""

    own: dict[tuple[int, str], list[Row]]
    common: dict[tuple[int, int], list[Row]]


def _sorted(rows: Sequence[Row]) -> Sorted[Row]:
    found: Sorted[Row] = Sorted(defaultdict(list), defaultdict(list))
    for row in sorted(rows, key=lambda row: (row.start_ns, row[0])):
        if row.task_id is None:
            found.common[row.round_id, row.cell_id].append(row)
        else:
            found.own[row.task_id, row.direction].append(row)
    return found


def _check_arrivals(
    transfers: Sequence[Transfer], arrivals: Sequence[Arrival]
) -> Iterator[Finding]:
    """Yield arrivals without a transfer, repeated, or before the last bit."""
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
    carried: Carried, route: Route, arrived_ns: Mapping[int, int]
) -> Iterator[Finding]:
    """Yield where transfers do not add up to the task's bits within its interval."""
    task, name = carried.task, carried.name
    where = f"task {task.task_id}"
    transfers, bits = [*route.common, *route.own], route.bits
    if bits != carried.bits:
        rule = f"transfers must carry the {name}'s bits"
        yield Finding("tasks", where, rule, f"task {carried.bits}, transfers {bits}")
    for transfer in transfers:
        goes_on = transfer in route.common and task.download_end_ns is None
        end_ns = _begun_ns(transfer, route) if goes_on else transfer.end_ns
        if transfer.start_ns < carried.start_ns or end_ns > carried.end_ns:
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
    yield from _check_attempts(carried, route.common, route.own)
    if carried.is_finished and transfers:
        yield from _check_span(carried, route, arrived_ns)


def _begun_ns(broadcast: Transfer, route: Route) -> int:
    """Return when a broadcast began, over a backhaul or directly over the band."""
    wired = [row.start_ns for row in route.wired if row.task_id is None]
    return min([broadcast.start_ns, *wired])


def _check_attempts(
    carried: Carried, common: Sequence[Transfer], own: Sequence[Transfer]
) -> Iterator[Finding]:
    """Yield attempts after one that was not lost, attempts that overlap or have other
    bits, and a finished phase whose last attempt is not done."""
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
    carried: Carried, route: Route, arrived_ns: Mapping[int, int]
) -> Iterator[Finding]:
    """Yield a phase that does not begin with its broadcast, or does not end when its
    last message arrives."""
    where = f"task {carried.task.task_id}"
    transfers = [*route.common, *route.own]
    there_ns = [arrived_ns.get(row.transfer_id, row.end_ns) for row in transfers]
    end_ns = max([*there_ns, *(row.end_ns for row in route.wired)])
    if end_ns != carried.end_ns:
        rule = f"{_article(carried.name)} must end when its last message is there"
        detail = f"it ends at {carried.end_ns} ns, the message is there at {end_ns}"
        yield Finding("tasks", where, rule, detail)
    starts_ns = [row.start_ns for row in transfers]
    start_ns = min([*starts_ns, *(row.start_ns for row in route.wired)])
    if route.common and start_ns != carried.start_ns:
        rule = "a download must begin with its broadcast"
        detail = f"it begins at {carried.start_ns} ns, the broadcast at {start_ns}"
        yield Finding("tasks", where, rule, detail)


def _article(name: str) -> str:
    return f"an {name}" if name == "upload" else f"a {name}"
