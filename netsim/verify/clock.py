"""Checks the physics of the bands exactly, in Python integers.

Only ``transfers``, ``segments``, ``bands`` and ``capacities`` are read, and ``links``
with ``laps`` of clients that have a link to themselves. Virtual time is
``V(t) = integral of unit_share``; an elastic segment did ``weight * efficiency *
(V(end) - V(start))`` of work and a pinned one ``pinned * efficiency * (end - start)``,
in units of 1e-24 bit. On a band with rows in ``capacities`` the integral of their
efficiency, repeated without end, counts instead of time.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from operator import attrgetter
from typing import Protocol

from netsim.channel.capacity import CapacityTable, Step
from netsim.trace.rows import Band, Capacity, Segment, Transfer
from netsim.trace.tables import Rows
from netsim.verify.division import check_divisions
from netsim.verify.finding import Finding
from netsim.verify.own_links import check_links, check_use, link_times
from netsim.verify.sent_whole import WORK_PER_BIT, are_whole, by_band, segments
from netsim.verify.trace import Columns, Trace, at, grouped

BandKey = tuple[int, str]
Elapsed = Callable[[int], int]  # what has elapsed at a tick: ns, or a capacity

WHOLLY_SENT = frozenset({"done", "failed"})  # one that failed is lost at its last bit


class Passing(Protocol):
    """What elapses for a transfer: virtual time, and nanoseconds or a capacity."""

    @property
    def elapsed(self) -> Elapsed: ...

    def at(self, tick_ns: int) -> tuple[int, int]: ...


class VirtualTime:
    """The virtual time of one band, from its rows in order of time."""

    def __init__(self, rows: list[Band], elapsed: Elapsed = int) -> None:
        self._rows = rows
        self.elapsed = elapsed
        self._starts = [row.start_ns for row in rows]
        spans = [row.end_ns - row.start_ns for row in rows]
        grown = [self._grown(row, row.end_ns) for row in rows]
        self._virtual = list(accumulate(grown, initial=0))
        self._covered = list(accumulate(spans, initial=0))

    def at(self, tick_ns: int) -> tuple[int, int]:
        """Return virtual time at a tick, and for how many ns before it rows exist."""
        index = bisect_right(self._starts, tick_ns) - 1
        if index < 0:
            return 0, 0
        row = self._rows[index]
        span = min(tick_ns, row.end_ns) - row.start_ns
        virtual = self._virtual[index] + self._grown(row, row.start_ns + span)
        return virtual, self._covered[index] + span

    def _grown(self, row: Band, tick_ns: int) -> int:
        passed = self.elapsed(tick_ns) - self.elapsed(row.start_ns)
        return row.unit_share_uhz * passed


NO_TIME = VirtualTime([])  # of a band without rows


def check_clock(rows: Rows) -> Iterator[Finding]:
    """Yield every breach of the clock's invariants in a complete trace."""
    trace = Trace.over(rows)
    broken = [
        *check_capacities(trace.capacities),
        *check_links(trace.links, trace.laps),
    ]
    yield from broken
    whole, found = are_whole(trace), segments(trace)
    is_left = (found.transfer < 0) | ~at(whole, found.transfer)
    kept = trace.only(transfers=~whole, segments=is_left)
    of_transfer = grouped(kept.segments, attrgetter("transfer_id"))
    yield from _check_transfers(trace, kept.transfers, of_transfer, is_sound=not broken)
    yield from _check_owners(of_transfer)
    yield from check_bands(trace)
    yield from check_divisions(trace, own_links=not broken)


def _check_transfers(
    trace: Trace,
    transfers: Sequence[Transfer],
    of_transfer: dict[int, list[Segment]],
    *,
    is_sound: bool,
) -> Iterator[Finding]:
    """Yield what is wrong with transfers, which take their segments."""
    measured = _tables(trace.capacities) if is_sound else {}
    own_times = link_times(trace.links, trace.laps) if is_sound else {}
    virtual: dict[BandKey, VirtualTime] = {}
    if transfers:
        virtual = {
            key: VirtualTime(rows, measured.get(key, int))
            for key, rows in grouped(trace.bands, _band_of).items()
        }
    on_links: list[tuple[Transfer, list[Segment]]] = []
    for transfer in transfers:
        band = (transfer.cell_id, transfer.direction)
        own = of_transfer.pop(transfer.transfer_id, [])
        own_time = own_times.get((transfer.client_id, transfer.direction))
        if own_time is not None:
            on_links.append((transfer, own))
        yield from _check_transfer(transfer, own, own_time or virtual.get(band))
    yield from check_use(on_links)


def _check_transfer(
    transfer: Transfer, segments: list[Segment], time: Passing | None
) -> Iterator[Finding]:
    """Yield what is wrong with the segments of one transfer."""
    yield from _check_tiles(transfer, segments)
    yield from _check_work(transfer, segments, time or NO_TIME)
    yield from _check_outage(transfer, segments)


def _check_owners(transfer_ids: Iterable[int]) -> Iterator[Finding]:
    """Yield segments that are left when each transfer has taken its own."""
    for transfer_id in transfer_ids:
        rule = "a segment must belong to one transfer"
        detail = "transfers has no such transfer_id, or it stands there twice"
        yield Finding("segments", f"transfer {transfer_id}", rule, detail)


def check_bands(trace: Trace) -> Iterator[Finding]:
    """Yield rows that overlap, are empty or give away more than the band has."""
    sound = all(_is_sound(rows) for rows in by_band(trace).values())
    for rows in grouped(() if sound else trace.bands, _band_of).values():
        end_ns = None
        for row in rows:
            where = band_row(row)
            if not row.start_ns < row.end_ns:
                rule = "a row must last at least one tick"
                yield Finding("bands", where, rule, f"end_ns {row.end_ns}")
            if end_ns is not None and row.start_ns < end_ns:
                detail = f"start_ns {row.start_ns}, the row before ends at {end_ns}"
                yield Finding("bands", where, "rows must not overlap", detail)
            band_uhz = row.band_hz * 10**6
            if row.allocated_uhz > band_uhz:
                rule = "shares must not exceed the band"
                detail = f"allocated_uhz {row.allocated_uhz}, the band has {band_uhz}"
                yield Finding("bands", where, rule, detail)
            end_ns = row.end_ns


def _is_sound(rows: Columns) -> bool:
    """Return whether a band's rows follow one another and keep within its width."""
    starts_ns, ends_ns = rows["start_ns"], rows["end_ns"]
    is_apart = (starts_ns < ends_ns).all() and (starts_ns[1:] >= ends_ns[:-1]).all()
    limits_uhz = rows["band_hz"].astype(object) * 10**6
    return bool(is_apart and (rows["allocated_uhz"] <= limits_uhz).all())


def check_capacities(capacities: Sequence[Capacity]) -> Iterator[Finding]:
    """Yield bands whose rows do not tile a trace: from zero on, without a gap."""
    for (cell_id, direction), rows in grouped(capacities, _band_of).items():
        where = f"cell {cell_id} {direction}"
        ends = [0, *(row.end_ns for row in rows)]
        if any(row.start_ns != end_ns for row, end_ns in zip(rows, ends, strict=False)):
            rule = "rows must tile one pass of the trace from time zero on"
            yield Finding("capacities", where, rule, f"{len(rows)} rows do not")
        elif any(one >= two for one, two in pairwise(ends)):
            rule = "a row must last at least one tick"
            yield Finding("capacities", where, rule, "one does not")
        efficiencies = [row.spectral_efficiency_nbit_s_hz for row in rows]
        if min(efficiencies) < 0 or not any(efficiencies):
            rule = "efficiencies must not be negative, nor all zero"
            yield Finding(
                "capacities", where, rule, f"the least is {min(efficiencies)}"
            )


def _tables(capacities: Sequence[Capacity]) -> dict[BandKey, Elapsed]:
    return {
        key: CapacityTable([Step(*row[2:]) for row in rows]).at
        for key, rows in grouped(capacities, _band_of).items()
    }


def band_row(row: Band) -> str:
    """Return the name of a row in findings."""
    return f"cell {row.cell_id} {row.direction} from {row.start_ns} ns"


def _band_of(row: Band | Capacity) -> BandKey:
    return row.cell_id, row.direction


def _check_tiles(transfer: Transfer, segments: list[Segment]) -> Iterator[Finding]:
    """Yield where segments leave a gap in the transfer's lifetime, or overlap."""
    where = f"transfer {transfer.transfer_id}"
    rule = "segments must tile the transfer"
    now_ns = transfer.start_ns
    for segment in segments:
        if segment.start_ns != now_ns:
            detail = f"start_ns {segment.start_ns}, expected {now_ns}"
            yield Finding("segments", where, rule, detail)
        if not segment.start_ns < segment.end_ns:
            detail = f"{segment.start_ns} to {segment.end_ns} ns"
            rule_empty = "a segment must last at least one tick"
            yield Finding("segments", where, rule_empty, detail)
        now_ns = segment.end_ns
    if now_ns != transfer.end_ns:
        detail = f"they end at {now_ns}, the transfer at {transfer.end_ns}"
        yield Finding("segments", where, rule, detail)


def _check_work(
    transfer: Transfer, segments: list[Segment], virtual: Passing
) -> Iterator[Finding]:
    """Yield where the work does not reach the bits at the last tick exactly."""
    where = f"transfer {transfer.transfer_id}"
    work = before_last = 0
    for segment in segments:
        start, covered_start = virtual.at(segment.start_ns)
        end, covered_end = virtual.at(segment.end_ns)
        before_end, _ = virtual.at(segment.end_ns - 1)
        yield from _check_covered(where, segment, covered_end - covered_start)
        last_ns, elapsed = segment.end_ns, virtual.elapsed
        before_last = work + _work(segment, before_end - start, elapsed, last_ns - 1)
        work += _work(segment, end - start, elapsed, last_ns)
    need = transfer.bits * WORK_PER_BIT
    is_sent = transfer.status in WHOLLY_SENT
    if is_sent and work < need:
        rule = "work must reach the bits at end_ns"
        yield Finding("transfers", where, rule, f"work {work}, needed {need}")
    elif not is_sent and work >= need:
        rule = "a transfer that is not done must not reach its bits"
        detail = f"status {transfer.status}, work {work}, needed {need}"
        yield Finding("transfers", where, rule, detail)
    elif before_last >= need:
        rule = "work must not reach the bits before end_ns"
        detail = f"work one tick earlier {before_last}, needed {need}"
        yield Finding("transfers", where, rule, detail)


def _check_covered(where: str, segment: Segment, covered_ns: int) -> Iterator[Finding]:
    """Yield a segment for a part of which its band has no row."""
    span_ns = segment.end_ns - segment.start_ns
    if covered_ns != span_ns:
        detail = (
            f"{segment.start_ns} to {segment.end_ns} ns is {span_ns} ns, "
            f"of which rows of bands cover {covered_ns}"
        )
        yield Finding("segments", where, "a segment must lie in its band", detail)


def _check_outage(transfer: Transfer, segments: list[Segment]) -> Iterator[Finding]:
    """Yield a transfer that was given up in an outage without being in one."""
    if transfer.status != "outage":
        return
    efficiency = segments[-1].spectral_efficiency_nbit_s_hz if segments else None
    if efficiency != 0:
        rule = "a transfer given up in an outage must end without any efficiency"
        where = f"transfer {transfer.transfer_id}"
        yield Finding("transfers", where, rule, f"its last segment has {efficiency}")


def _work(segment: Segment, virtual: int, elapsed: Elapsed, end_ns: int) -> int:
    """Return the work of a segment up to a tick, before which ``virtual`` passed."""
    efficiency = segment.spectral_efficiency_nbit_s_hz
    if segment.pinned_uhz is not None:
        passed = elapsed(end_ns) - elapsed(segment.start_ns)
        return segment.pinned_uhz * efficiency * passed
    return segment.weight * efficiency * virtual
