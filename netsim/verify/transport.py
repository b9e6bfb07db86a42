"""Checks the waits before messages: set-up, grants and backoffs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from netsim.core.clock import to_ns
from netsim.network.cell import Downlink, Uplink
from netsim.trace.rows import Transfer
from netsim.verify.compare import check_equal
from netsim.verify.finding import Finding
from netsim.verify.known import Known
from netsim.verify.trace import Mask, Trace, at, joined


def check_transport(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield uploads and unicast downloads that do not start when their set-up, grant or
    backoff ends."""
    cells = known.scenario.network.cells
    rest = ~_start_at_once(trace, known)
    trace = trace.only(tasks=rest, transfers=joined(trace).messages_of(rest))
    attempts: dict[tuple[str, int], list[Transfer]] = defaultdict(list)
    for row in sorted(trace.transfers, key=lambda row: (row.start_ns, row.transfer_id)):
        if row.task_id is not None:
            attempts[row.direction, row.task_id].append(row)
    wired_ns = {
        row.task_id: row.end_ns for row in trace.crossings if row.direction == "down"
    }
    for task in trace.tasks:
        up = attempts.get(("up", task.task_id))
        if up and task.upload_start_ns is not None:
            air = cells[up[0].cell_id].uplink
            yield from _check_starts(up, task.upload_start_ns, air)
        down = attempts.get(("down", task.task_id))
        if down and cells[down[0].cell_id].downlink.mode == "unicast":
            ready_ns = wired_ns.get(task.task_id, task.download_start_ns)
            yield from _check_starts(down, ready_ns, cells[down[0].cell_id].downlink)


def _start_at_once(trace: Trace, known: Known) -> Mask:
    """Return which tasks sent all at once, over bands that let them do so."""
    both, cells = joined(trace), known.scenario.network.cells
    waits = any(
        air.transport.set_up_ns or air.transport.grant_ns
        for cell in cells
        for air in (cell.uplink, cell.downlink)
    )
    is_right = np.full(len(both.tasks["task_id"]), not waits and both.are_unique)
    phases = {"up": "upload_start_ns"}
    if any(cell.downlink.mode == "unicast" for cell in cells):
        phases["down"] = "download_start_ns"
        is_right &= not trace.crossings
    for direction, start in phases.items():
        own = both.sent(direction)
        starts_ns = at(both.transfers["start_ns"], own.place)
        is_at_once = (own.number == 1) & (starts_ns == both.tasks[start])
        is_right &= is_at_once | (own.number == 0)
    return is_right


def _check_starts(
    own: Sequence[Transfer], ready_ns: int, air: Uplink | Downlink
) -> Iterator[Finding]:
    """Yield attempts that do not start at their tick."""
    due = [ready_ns + air.transport.set_up_ns]
    for attempt, (before, _) in enumerate(pairwise(own), start=1):
        pause_s = 0.0 if air.errors is None else air.errors.pause_s(attempt)
        due.append(before.end_ns + (to_ns(pause_s) if pause_s else 0))
    for row, tick_ns in zip(own, due, strict=True):
        claim = ("start_ns", row.start_ns, tick_ns + air.transport.grant_ns)
        yield from check_equal("transfers", f"transfer {row.transfer_id}", claim)
