"""Checks the waits before uploads: set-up, grants and backoffs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

from netsim.core.clock import to_ns
from netsim.network.cell import Downlink, Uplink
from netsim.trace.rows import Transfer
from netsim.verify.compare import check_equal
from netsim.verify.finding import Finding
from netsim.verify.known import Known
from netsim.verify.trace import Trace


def check_transport(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield uploads that do not start when their set-up, grant or backoff ends."""
    cells = known.scenario.network.cells
    attempts: dict[int, list[Transfer]] = defaultdict(list)
    for row in sorted(trace.transfers, key=lambda row: (row.start_ns, row.transfer_id)):
        if row.direction == "up" and row.task_id is not None:
            attempts[row.task_id].append(row)
    for task in trace.tasks:
        own = attempts.get(task.task_id)
        if own and task.upload_start_ns is not None:
            uplink = cells[own[0].cell_id].uplink
            due_ns = task.upload_start_ns + uplink.transport.set_up_ns
            yield from _check_starts(own, due_ns, uplink)


def _check_starts(
    own: Sequence[Transfer], due_ns: int, air: Uplink | Downlink
) -> Iterator[Finding]:
    """Yield attempts that do not start at their tick."""
    due = [due_ns]
    for attempt, (before, _) in enumerate(pairwise(own), start=1):
        pause_s = 0.0 if air.errors is None else air.errors.pause_s(attempt)
        due.append(before.end_ns + (to_ns(pause_s) if pause_s else 0))
    for row, tick_ns in zip(own, due, strict=True):
        claim = ("start_ns", row.start_ns, tick_ns + air.transport.grant_ns)
        yield from check_equal("transfers", f"transfer {row.transfer_id}", claim)
