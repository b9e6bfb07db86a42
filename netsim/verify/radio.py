"""Checks cells, measured traces and delays of messages against the scenario."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from netsim.channel.latency import latency_ns
from netsim.cosim.world import capacity_rows, cell_rows, lap_rows
from netsim.network.cell import DIRECTIONS, Direction
from netsim.trace.rows import OwnLink, Task, Transfer
from netsim.verify.compare import check_equal, check_rows
from netsim.verify.finding import Finding
from netsim.verify.known import Known
from netsim.verify.trace import Trace
from netsim.verify.work import occasions


def check_cells(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield cells that are not the scenario's."""
    expected = list(cell_rows(known.scenario.network))
    yield from check_rows("cells", trace.cells, expected)


def check_bandwidths(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield rows of bands that have another width than their cell's band."""
    cells = known.scenario.network.cells
    wide: dict[tuple[int, str], int] = {
        (cell_id, direction): int(cell.band(direction).band_hz)
        for cell_id, cell in enumerate(cells)
        for direction in DIRECTIONS
    }
    found = trace.columns("bands")
    is_right = np.zeros(len(found["band_hz"]), bool)
    for (cell_id, direction), band_hz in wide.items():
        is_of = (found["cell_id"] == cell_id) & (found["direction"] == direction)
        is_right |= is_of & (found["band_hz"] == band_hz)
    for row in trace.only(bands=~is_right).bands:
        where = f"cell {row.cell_id} {row.direction} from {row.start_ns} ns"
        right_hz = wide.get((row.cell_id, row.direction))
        yield from check_equal("bands", where, ("band_hz", row.band_hz, right_hz))


def check_traces(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield measured traces that are not those of the scenario's files."""
    scenario = known.scenario
    expected = list(capacity_rows(scenario))
    yield from check_rows("capacities", sorted(trace.capacities), sorted(expected))
    links = scenario.population.links
    laps = [] if links is None else list(lap_rows(links))
    yield from check_rows("laps", sorted(trace.laps), sorted(laps))


def check_own_links(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield links that do not follow the drawn file and offset, or are missing."""
    links, seed = known.scenario.population.links, known.scenario.seed
    users: list[int] = []
    if links is not None:
        sent = (row for row in trace.transfers if row.direction == "up")
        users = sorted({row.client_id for row in sent if row.client_id is not None})
    expected = [OwnLink(n, "up", *links.link(seed, n)) for n in users if links]
    yield from check_rows("links", sorted(trace.links), expected)


def check_messages_draws(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield messages that were lost, or late, against the draws of their loss and
    latency."""
    arrived = {row.transfer_id: row.arrival_ns for row in trace.arrivals}
    is_lost = trace.columns("transfers")["status"] == "failed"
    if not (arrived or is_lost.any() or _delays_or_loses(known)):
        return
    of_task = _by_task(trace)
    for task, occasion in occasions(trace, known):
        for direction in DIRECTIONS:
            own = of_task.get((task.task_id, direction), [])
            first = _lost_broadcast(task, direction, own)
            for attempt, transfer in enumerate(own, start=first):
                key = direction, task.client_id, occasion, attempt
                yield from _check_draws(known, task, transfer, key, arrived)
    yield from _check_broadcasts(trace, known, arrived)
    for transfer_id in arrived:
        rule = "an arrival must be of a message that has latency"
        yield Finding("arrivals", f"transfer {transfer_id}", rule, "it has none")


def _delays_or_loses(known: Known) -> bool:
    """Return whether a band has latency or loses messages."""
    cells = known.scenario.network.cells
    bands = [cell.band(direction) for cell in cells for direction in DIRECTIONS]
    return any(one.errors or one.latency_s or one.jitter for one in bands)


def _check_draws(
    known: Known,
    task: Task,
    transfer: Transfer,
    key: tuple[Direction, int, int, int],
    arrived: dict[int, int],
) -> Iterator[Finding]:
    """Yield a transfer whose loss, or latency, is not the one drawn under ``key``."""
    seed, where = known.scenario.seed, f"transfer {transfer.transfer_id}"
    air = known.scenario.network.cells[transfer.cell_id].band(key[0])
    if transfer.status in ("done", "failed"):
        is_lost = air.errors and air.errors.is_lost(transfer.bits, seed, *key)
        claim = ("status", transfer.status, "failed" if is_lost else "done")
        yield from check_equal("transfers", where, claim)
    delay_ns = latency_ns(air.latency_s, air.jitter, seed, *key)
    if transfer.status == "done" and delay_ns:
        stated_ns = arrived.pop(transfer.transfer_id, None)
        due_ns = transfer.end_ns + delay_ns
        may_be_cut = task.end_ns <= due_ns and task.status != "done"
        if stated_ns is not None or not may_be_cut:
            claim_ns = ("arrival_ns", stated_ns, due_ns)
            yield from check_equal("arrivals", where, claim_ns)


def _check_broadcasts(
    trace: Trace, known: Known, arrived: dict[int, int]
) -> Iterator[Finding]:
    for row in trace.transfers:
        if row.task_id is not None:
            continue
        air = known.scenario.network.cells[row.cell_id].downlink
        name = f"broadcast/{row.cell_id}" if row.cell_id else "broadcast"
        key = (known.scenario.seed, name, row.round_id)
        delay_ns = latency_ns(air.latency_s, air.jitter, *key)
        stated = arrived.pop(row.transfer_id, None)
        if delay_ns and row.status == "done" and stated is not None:
            claim = ("arrival_ns", stated, row.end_ns + delay_ns)
            yield from check_equal("arrivals", f"transfer {row.transfer_id}", claim)


def _by_task(trace: Trace) -> dict[tuple[int, str], list[Transfer]]:
    found: dict[tuple[int, str], list[Transfer]] = {}
    for row in sorted(trace.transfers, key=lambda row: (row.start_ns, row.transfer_id)):
        if row.task_id is not None:
            found.setdefault((row.task_id, row.direction), []).append(row)
    return found


def _lost_broadcast(task: Task, direction: str, own: Sequence[Transfer]) -> int:
    """Return 1 where a download is the first retry after a broadcast that was lost."""
    if direction == "up" or not own:
        return 0
    is_sent = own[0].start_ns != task.download_start_ns
    return int(is_sent and sum(t.bits for t in own) < task.download_bits)
