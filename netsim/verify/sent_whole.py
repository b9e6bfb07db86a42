"""Which transfers the clock sent as it should, told for all of them at once, exactly:
in Python integers where 64 bits are too few. The others are looked at one by one."""

from __future__ import annotations

import numpy as np

from netsim.verify.trace import NONE, Array, Mask, Places, Trace, at

WORK_PER_BIT = 10**24  # micro-hertz x nano-bit/s/Hz x nanoseconds


class BandTime:
    """Virtual time of one band without a measured capacity, at many ticks at once."""

    def __init__(self, starts_ns: Array, ends_ns: Array, units_uhz: Array) -> None:
        self._starts, self._ends = starts_ns, ends_ns
        self._units = units_uhz.astype(object)  # products exceed 64 bits
        spans = ends_ns - starts_ns
        self._virtual = np.concatenate([[0], np.cumsum(self._units * spans)])
        self._covered = np.concatenate([[0], np.cumsum(spans)])

    def at(self, ticks_ns: Array) -> tuple[Array, Array]:
        """Return virtual time at ticks, and for how many ns before them rows exist."""
        place = np.searchsorted(self._starts, ticks_ns, side="right") - 1
        row = np.maximum(place, 0)
        spans = np.minimum(ticks_ns, self._ends[row]) - self._starts[row]
        virtual = self._virtual[row] + self._units[row] * spans
        is_before = place < 0
        return (
            np.where(is_before, 0, virtual),
            np.where(is_before, 0, self._covered[row] + spans),
        )


class Segments:
    """The segments of a trace, with their transfers and the virtual time they had."""

    def __init__(self, trace: Trace) -> None:
        self.rows = trace.columns("segments")
        self.transfers = trace.columns("transfers")
        ids = Places(self.transfers["transfer_id"])
        self.are_unique = ids.are_unique
        self.transfer = ids.of(self.rows["transfer_id"])  # -1: of none
        size = len(self.rows["start_ns"])
        self.grown = np.zeros(size, object)  # virtual time from start to end
        self.before = np.zeros(size, object)  # to one tick before the end
        self.covered = np.zeros(size, np.int64)
        self.unit_uhz = np.zeros(size, np.int64)  # of the band at the start
        for key, band in by_band(trace).items():
            self._take(key, band)

    def _take(self, key: tuple[int, str], band: dict[str, Array]) -> None:
        own = self.transfer >= 0
        own &= at(self.transfers["cell_id"], self.transfer) == key[0]
        own &= at(self.transfers["direction"], self.transfer) == key[1]
        starts, ends = self.rows["start_ns"][own], self.rows["end_ns"][own]
        time = BandTime(band["start_ns"], band["end_ns"], band["unit_share_uhz"])
        begun, covered = time.at(starts)
        ended, covered_end = time.at(ends)
        self.grown[own] = ended - begun
        self.before[own] = time.at(ends - 1)[0] - begun
        self.covered[own] = covered_end - covered
        place = np.searchsorted(band["start_ns"], starts, side="right") - 1
        self.unit_uhz[own] = np.where(place < 0, 0, band["unit_share_uhz"][place])

    @property
    def held_uhz_ns(self) -> Array:
        """Return the integral of each segment's share over its time."""
        return self._integral(self.grown, self.rows["end_ns"] - self.rows["start_ns"])

    @property
    def held_before_uhz_ns(self) -> Array:
        """Return the same until one tick before its end."""
        spans = self.rows["end_ns"] - self.rows["start_ns"]
        return self._integral(self.before, spans - 1)

    def _integral(self, virtual: Array, spans_ns: Array) -> Array:
        pinned = self.rows["pinned_uhz"].astype(object)
        weights = self.rows["weight"].astype(object)
        is_pinned = self.rows["pinned_uhz"] != NONE
        return np.where(is_pinned, pinned * spans_ns, weights * virtual)

    def sums(self, values: Array) -> Array:
        """Return the sum of values over the segments of each transfer."""
        found = np.zeros(len(self.transfers["bits"]), values.dtype)
        is_own = self.transfer >= 0
        np.add.at(found, self.transfer[is_own], values[is_own])
        return found


def segments(trace: Trace) -> Segments:
    """Return the segments of a trace, made once for all checks."""
    return trace.once("segments", lambda: Segments(trace))


def by_band(trace: Trace) -> dict[tuple[int, str], dict[str, Array]]:
    """Return the rows of every band in order of time."""
    return trace.once("by band", lambda: _by_band(trace.columns("bands")))


def _by_band(rows: dict[str, Array]) -> dict[tuple[int, str], dict[str, Array]]:
    found = {}
    for cell_id in sorted(set(rows["cell_id"].tolist())):
        for direction in ("down", "up"):
            own = (rows["cell_id"] == cell_id) & (rows["direction"] == direction)
            if own.any():
                order = np.flatnonzero(own)
                order = order[np.argsort(rows["start_ns"][order], kind="stable")]
                found[cell_id, direction] = {n: one[order] for n, one in rows.items()}
    return found


def are_whole(trace: Trace) -> Mask:
    """Return which transfers are tiled by segments within their band, whose work
    reaches their bits at the last tick and not before, or never where they are cut."""
    found, sent = segments(trace), trace.columns("transfers")
    if not found.are_unique or trace.capacities or trace.links or trace.laps:
        return np.zeros(len(sent["bits"]), bool)
    efficiency = found.rows["spectral_efficiency_nbit_s_hz"].astype(object)
    work = found.held_uhz_ns * efficiency
    total = found.sums(work)
    last = _last(found)
    has_last = last >= 0
    before = (
        total
        - np.where(
            has_last, work[last] - found.held_before_uhz_ns[last] * efficiency[last], 0
        )
        if len(work)
        else total
    )
    need = sent["bits"].astype(object) * WORK_PER_BIT
    is_sent = np.isin(sent["status"], ["done", "failed"])
    is_right = np.where(is_sent, total >= need, total < need) & (before < need)
    return np.asarray(
        is_right.astype(bool) & _are_tiled(found) & (sent["status"] != "outage")
    )


def _last(found: Segments) -> Array:
    """Return the last segment of every transfer; -1 where it has none."""
    last = np.full(len(found.transfers["bits"]), -1)
    order = np.argsort(found.rows["start_ns"], kind="stable")
    order = order[found.transfer[order] >= 0]
    last[found.transfer[order]] = order
    return last


def _are_tiled(found: Segments) -> Mask:
    """Return which transfers' segments, all in their band, follow one another from its
    start to its end."""
    rows, sent = found.rows, found.transfers
    spans = rows["end_ns"] - rows["start_ns"]
    order = np.lexsort((rows["start_ns"], found.transfer))
    order = order[found.transfer[order] >= 0]
    own = found.transfer[order]
    is_first = np.diff(own, prepend=-1) != 0
    is_last = np.diff(own, append=-1) != 0
    due = np.where(is_first, sent["start_ns"][own], np.roll(rows["end_ns"][order], 1))
    is_right = (rows["start_ns"][order] == due) & (spans[order] > 0)
    is_right &= found.covered[order] == spans[order]
    is_right &= ~is_last | (rows["end_ns"][order] == sent["end_ns"][own])
    number = np.bincount(own, minlength=len(sent["bits"]))
    num_right = np.bincount(own[is_right], minlength=len(sent["bits"]))
    return np.asarray((number > 0) & (num_right == number))
