"""Checks of each client's cell over time, and of the messages over backhauls."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from operator import attrgetter

import numpy as np

from netsim.core.clock import to_ns
from netsim.trace.rows import Cell, Crossing, Transfer
from netsim.verify.finding import Finding
from netsim.verify.trace import Array, Places, Trace

HANDOVER = re.compile(r"cell (\d+) to cell (\d+)")


class Whereabouts:
    """Each client's cell over time: that of ``clients``, until a handover."""

    def __init__(self, trace: Trace) -> None:
        found = trace.columns("clients")
        self._places, self._cells = Places(found["client_id"]), found["cell_id"]
        self._moves: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for event in trace.events:
            said = HANDOVER.fullmatch(event.detail)
            if event.kind == "handover" and event.client_id is not None and said:
                self._moves[event.client_id].append((event.time_ns, int(said[2])))

    @property
    def has_moves(self) -> bool:
        """Return whether a client changes its cell."""
        return bool(self._moves)

    def homes_of(self, client_ids: Array) -> Array:
        """Return clients' cells at time zero; -1 of those that are unknown."""
        places = self._places.of(client_ids)
        return np.where(places >= 0, self._cells[places], -1)

    def at(self, client_id: int, tick_ns: int) -> int:
        """Return the cell of a client; -1 if the client is unknown."""
        moves = self._moves.get(client_id, [])
        index = bisect_right(moves, tick_ns, key=lambda move: move[0])
        if index:
            return moves[index - 1][1]
        return int(self.homes_of(np.array([client_id]))[0])


def check_handovers(trace: Trace, where: Whereabouts) -> Iterator[Finding]:
    """Yield handovers that do not begin in their client's cell."""
    now: dict[int | None, int] = {}
    for event in trace.events:
        if event.kind != "handover":
            continue
        said = HANDOVER.fullmatch(event.detail)
        if (
            said is None
            or event.client_id is None
            or int(said[1]) != now.get(event.client_id, where.at(event.client_id, -1))
        ):
            rule = "a handover must lead from its client's cell to another one"
            detail = f"client {event.client_id}: {event.detail!r}"
            yield Finding("events", f"event {event.sequence}", rule, detail)
        if said is not None and event.client_id is not None:
            now[event.client_id] = int(said[2])


def check_places(trace: Trace, where: Whereabouts) -> Iterator[Finding]:
    """Yield own transfers that are in another cell than their client."""
    found = trace.columns("transfers")
    is_away = found["cell_id"] != where.homes_of(found["client_id"])
    kept = trace if where.has_moves else trace.only(transfers=is_away)
    for transfer in kept.transfers:
        if transfer.client_id is None:
            continue
        cell_id = where.at(transfer.client_id, transfer.start_ns)
        if cell_id != transfer.cell_id:
            rule = "a transfer must be in its client's cell"
            detail = f"cell {transfer.cell_id}, client {transfer.client_id}: {cell_id}"
            yield Finding("transfers", f"transfer {transfer.transfer_id}", rule, detail)


def check_wires(
    cells: Sequence[Cell], crossings: Sequence[Crossing]
) -> Iterator[Finding]:
    """Yield messages that a backhaul did not carry in order, each at its rate."""
    of_wire: dict[tuple[int, str], list[Crossing]] = defaultdict(list)
    in_order = sorted(crossings, key=attrgetter("crossing_id"))
    if [row.crossing_id for row in in_order] != list(range(len(in_order))):
        rule = "crossings must be numbered from zero on"
        yield Finding("crossings", "", rule, f"{len(in_order)} rows are not")
    for crossing in in_order:
        of_wire[crossing.cell_id, crossing.direction].append(crossing)
    known = {cell.cell_id: cell for cell in cells}
    for (cell_id, _), rows in of_wire.items():
        cell = known.get(cell_id)
        if cell is None or cell.backhaul_bps is None or not cell.backhaul_bps > 0:
            rule = "a crossing must be on a cell's backhaul"
            where = f"crossing {rows[0].crossing_id}"
            yield Finding("crossings", where, rule, f"cell {cell_id} has none")
        else:
            yield from _check_wire(rows, cell.backhaul_bps, cell.backhaul_latency_ns)


def _check_wire(
    rows: Sequence[Crossing], rate_bps: float, latency_ns: int | None
) -> Iterator[Finding]:
    free_ns = 0
    for row in rows:
        free_ns = max(row.start_ns, free_ns) + to_ns(row.bits / rate_bps)
        through_ns = free_ns + (latency_ns or 0)
        is_right = row.end_ns == through_ns
        if row.status != "done":
            is_right = row.start_ns <= row.end_ns <= through_ns
        if not is_right:
            rule = "a message must be through after its turn, its bits and the latency"
            detail = f"end_ns {row.end_ns}, expected {through_ns}"
            yield Finding("crossings", f"crossing {row.crossing_id}", rule, detail)


def check_crossed(trace: Trace) -> Iterator[Finding]:
    """Yield messages that went over the band and not over the backhaul, or reversed."""
    wired = {cell.cell_id for cell in trace.cells if cell.backhaul_bps is not None}
    if not wired and not trace.crossings:
        return
    crossings, transfers, tasks = trace.crossings, trace.transfers, trace.tasks
    aired = {
        _key(row): row for row in transfers if row.cell_id in wired and _is_due(row)
    }
    ends_ns = {task.task_id: task.end_ns for task in tasks}
    for crossing in crossings:
        if crossing.status != "done":
            continue
        transfer = aired.pop(_key(crossing), None)
        where = f"crossing {crossing.crossing_id}"
        if transfer is None and crossing.direction == "up":
            rule = "what crosses to the server must have come over the air"
            yield Finding("crossings", where, rule, f"task {crossing.task_id}")
        if transfer is not None and not _follow(crossing, transfer, ends_ns):
            rule = "a message must take the air and the wire one after the other"
            detail = f"crossing {crossing}, transfer {transfer}"
            yield Finding("crossings", where, rule, detail)
    for transfer in aired.values():
        rule = "what a cell with a backhaul carries must cross it"
        is_up = transfer.direction == "up"
        task_is_done = {task.task_id for task in tasks if task.status == "done"}
        if not is_up or transfer.task_id in task_is_done:
            where = f"transfer {transfer.transfer_id}"
            yield Finding("transfers", where, rule, f"cell {transfer.cell_id}")


def check_exchanges(trace: Trace) -> Iterator[Finding]:
    """Yield messages of an edge server that are not, in turn, a version down before
    the rounds between two merges of the cloud, and one up after them."""
    of_cell: dict[int, list[Crossing]] = defaultdict(list)
    for crossing in sorted(trace.crossings, key=attrgetter("crossing_id")):
        of_cell[crossing.cell_id].append(crossing)
    ends = sorted(r.round_id for r in trace.rounds if r.server_id == trace.cloud_id)
    turns = [n for first, last in pairwise([0, *ends]) for n in (first + 1, last)]
    for cell_id, rows in of_cell.items():
        if [row.round_id for row in rows] != turns:
            rule = "edge and cloud must exchange a version before and after its rounds"
            said = [row.round_id for row in rows]
            yield Finding("crossings", f"cell {cell_id}", rule, f"rounds {said[:6]}")
        for n, row in enumerate(rows):
            is_turn = row.direction == ("up" if n % 2 else "down")
            if not is_turn or row.task_id is not None or row.status != "done":
                rule = "edge and cloud must exchange a version each way in turn"
                where = f"crossing {row.crossing_id}"
                yield Finding(
                    "crossings", where, rule, f"{row.direction}, {row.status}"
                )


def _is_due(transfer: Transfer) -> bool:
    """Return whether a transfer follows, or continues over, the backhaul."""
    return transfer.direction == "down" or transfer.status == "done"


def _key(row: Transfer | Crossing) -> tuple[object, ...]:
    return (row.cell_id, row.direction, row.round_id, row.task_id, row.bits)


def _follow(crossing: Crossing, transfer: Transfer, ends_ns: dict[int, int]) -> bool:
    if crossing.direction == "down":
        return crossing.end_ns <= transfer.start_ns
    end_ns = ends_ns.get(crossing.task_id if crossing.task_id is not None else -1, -1)
    return transfer.end_ns <= crossing.start_ns and crossing.end_ns <= end_ns
