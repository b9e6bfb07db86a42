"""Checks that each row of ``bands`` is what its live segments and the formula give.

``unit_share = (band - sum of pinned) // sum of weights`` at every moment of the row.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter

import numpy as np

from netsim.trace.rows import Band, Segment
from netsim.verify.finding import Finding
from netsim.verify.sent_whole import by_band, segments
from netsim.verify.trace import NONE, Array, Columns, Trace, at

LARGE = 2.0**62  # up to here sums are exact in 64 bits


class Live:
    """The terms of all live segments of a band, moved from tick to tick."""

    def __init__(self, segments: list[Segment]) -> None:
        starts = sorted(segments, key=attrgetter("start_ns"), reverse=True)
        ends = sorted(segments, key=attrgetter("end_ns"), reverse=True)
        self._starts, self._ends = starts, ends  # the next one is the last
        self.num_live = self.weight_sum = self.pinned_sum_uhz = 0

    def next_ns(self) -> int | None:
        """Return the next tick at which a segment starts or ends."""
        ticks = [self._starts[-1].start_ns] if self._starts else []
        ticks += [self._ends[-1].end_ns] if self._ends else []
        return min(ticks, default=None)

    def move(self, tick_ns: int) -> None:
        """Count every start and end up to and including ``tick_ns``."""
        while self._starts and self._starts[-1].start_ns <= tick_ns:
            self._count(self._starts.pop(), 1)
        while self._ends and self._ends[-1].end_ns <= tick_ns:
            self._count(self._ends.pop(), -1)

    def division(self, band_hz: int) -> tuple[int, int, int]:
        """Return unit share, number of live transfers and the share that they hold."""
        unit = 0
        if self.weight_sum > 0:
            unit = (band_hz * 10**6 - self.pinned_sum_uhz) // self.weight_sum
        return unit, self.num_live, unit * self.weight_sum + self.pinned_sum_uhz

    def _count(self, segment: Segment, sign: int) -> None:
        self.num_live += sign
        if segment.pinned_uhz is None:
            self.weight_sum += sign * segment.weight
        else:
            self.pinned_sum_uhz += sign * segment.pinned_uhz


def check_divisions(trace: Trace, *, own_links: bool) -> Iterator[Finding]:
    """Yield bands whose rows are not the division of the segments that they carry;
    without ``own_links`` they carry all."""
    found, sent, bands = segments(trace), trace.columns("transfers"), by_band(trace)
    linked = {(row.client_id, row.direction) for row in trace.links if own_links}
    users = zip(sent["client_id"].tolist(), sent["direction"].tolist(), strict=True)
    on_link = np.array([user in linked for user in users] if linked else [], bool)
    for (cell_id, direction), rows in bands.items():
        own = (found.transfer >= 0) & (at(sent["cell_id"], found.transfer) == cell_id)
        own &= at(sent["direction"], found.transfer) == direction
        if linked:
            own &= ~at(on_link, found.transfer)
        if not _is_divided(rows, {n: one[own] for n, one in found.rows.items()}):
            columns = trace.columns("bands")
            is_row = (columns["cell_id"] == cell_id) & (
                columns["direction"] == direction
            )
            kept = trace.only(bands=is_row, segments=own)
            yield from check_division(
                sorted(kept.bands, key=attrgetter("start_ns")), kept.segments
            )


def _is_divided(rows: Columns, own: Columns) -> bool:
    """Return whether each row is the division of segments that start and end with rows;
    not where numbers are so large that their sums may not be exact."""
    terms = [own["weight"], own["pinned_uhz"], rows["band_hz"] * 1e6]
    largest = max(float(np.abs(one).sum(dtype=float)) for one in terms[:2])
    if max(largest, float(terms[2].max(initial=0.0))) > LARGE:
        return False
    ticks = np.concatenate([own["start_ns"], own["end_ns"]])
    edges = [np.sort(rows[name]) for name in ("start_ns", "end_ns")]
    if not np.any([_is_among(ticks, one) for one in edges], axis=0).all():
        return False
    is_pinned = own["pinned_uhz"] != NONE
    weights = np.where(is_pinned, 0, own["weight"])
    pinned = np.where(is_pinned, own["pinned_uhz"], 0)
    num_live, weight, held = (
        _live(rows["start_ns"], own, one)
        for one in (np.ones_like(pinned), weights, pinned)
    )
    width_uhz = rows["band_hz"] * 10**6
    unit = np.where(weight > 0, (width_uhz - held) // np.maximum(weight, 1), 0)
    return bool(
        (rows["num_live"] == num_live).all()
        and (rows["unit_share_uhz"] == unit).all()
        and (rows["allocated_uhz"] == unit * weight + held).all()
    )


def _is_among(ticks_ns: Array, edges_ns: Array) -> Array:
    """Return which ticks are among edges, which are in order."""
    place = np.minimum(np.searchsorted(edges_ns, ticks_ns), len(edges_ns) - 1)
    return np.asarray(edges_ns[place] == ticks_ns)


def _live(ticks_ns: Array, own: Columns, values: Array) -> Array:
    """Return the sum of values over the segments that are live at ticks."""
    found = np.zeros(len(ticks_ns), np.int64)
    for name, sign in (("start_ns", 1), ("end_ns", -1)):
        order = np.argsort(own[name], kind="stable")
        sums = np.concatenate([[0], np.cumsum(values[order])])
        place = np.searchsorted(own[name][order], ticks_ns, side="right")
        found += sign * sums[place]
    return found


def check_division(rows: list[Band], segments: list[Segment]) -> Iterator[Finding]:
    """Yield the first moment of each row at which another division would hold."""
    live = Live(segments)
    for row in rows:
        live.move(row.start_ns)
        found = (row.unit_share_uhz, row.num_live, row.allocated_uhz)
        tick_ns: int | None = row.start_ns
        is_right = True
        while tick_ns is not None and tick_ns < row.end_ns:
            live.move(tick_ns)
            expected = live.division(row.band_hz)
            if is_right and expected != found:
                is_right = False
                yield _finding(row, tick_ns, found, expected)
            tick_ns = live.next_ns()


def _finding(
    row: Band, tick_ns: int, found: tuple[int, int, int], expected: tuple[int, int, int]
) -> Finding:
    names = ("unit_share_uhz", "num_live", "allocated_uhz")
    differences = [
        f"{name} {value}, segments give {right}"
        for name, value, right in zip(names, found, expected, strict=True)
        if value != right
    ]
    return Finding(
        "bands",
        f"cell {row.cell_id} {row.direction} from {row.start_ns} ns",
        "a row must be the division of its live segments",
        f"at {tick_ns} ns " + "; ".join(differences),
    )
