"""Checks that each row of ``bands`` is what its live segments and the formula give.

``unit_share = (band - sum of pinned) // sum of weights`` at every moment of the row.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter

from netsim.trace.rows import Band, Segment
from netsim.verify.finding import Finding


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
