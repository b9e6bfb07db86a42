"""Checks each segment's spectral efficiency against its channel at its first tick, and
its share against its window."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from operator import attrgetter

import numpy as np

from netsim.band import Pace
from netsim.channel import Channel, Radio, WorstLink
from netsim.channel.averaged import efficiencies_nbit
from netsim.core.clock import MAX_NS
from netsim.cosim.world import heard
from netsim.network.cell import DIRECTIONS, Direction
from netsim.trace.rows import Band, Segment, Transfer
from netsim.verify.compare import check_equal
from netsim.verify.finding import Finding
from netsim.verify.known import Known
from netsim.verify.sent_whole import segments
from netsim.verify.trace import NONE, Array, Columns, Mask, Places, Trace, at, grouped


def check_efficiencies(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield segments whose efficiency is not that of radio, channel and share."""
    is_right = _are_right(trace, known)
    if is_right.all():
        return
    channels = _Channels(trace, known)
    trace = trace.only(segments=~is_right)
    transfers = {row.transfer_id: row for row in trace.transfers}
    bands = grouped(trace.bands, lambda row: (row.cell_id, row.direction))
    starts = {key: [row.start_ns for row in rows] for key, rows in bands.items()}
    for segment in sorted(trace.segments, key=lambda row: (row.start_ns, row[0])):
        transfer = transfers.get(segment.transfer_id)
        if transfer is None:
            continue
        where = f"transfer {segment.transfer_id}"
        if segment.pinned_uhz is not None:
            yield from check_equal("segments", where, ("weight", segment.weight, 0))
        if transfer.direction == "up" and known.scenario.population.links is not None:
            expected = 1
        else:
            key = transfer.cell_id, transfer.direction
            place = bisect_right(starts.get(key, []), segment.start_ns) - 1
            unit_uhz = bands[key][place].unit_share_uhz if place >= 0 else 0
            expected = channels.efficiency_nbit(transfer, segment, unit_uhz)
        name = "spectral_efficiency_nbit_s_hz"
        # one step: another computer's mathematics may round otherwise
        if abs(segment.spectral_efficiency_nbit_s_hz - expected) > expected * 1e-12:
            stated = segment.spectral_efficiency_nbit_s_hz
            yield from check_equal("segments", where, (name, stated, expected))


def _are_right(trace: Trace, known: Known) -> Mask:
    """Return which segments have the efficiency of a channel that never changes."""
    found, tasks = segments(trace), trace.columns("tasks")
    sent = found.transfers
    is_right = np.zeros(len(found.transfer), bool)
    radio_map, cells = known.population.radio_map, known.scenario.network.cells
    if not radio_map.is_static or known.scenario.population.links or len(cells) > 1:
        return is_right
    for direction in DIRECTIONS:
        first_hz = radio_map.mean_hz(direction)[0]
        if radio_map.link(0, direction, 0).at(0) != (first_hz, None):
            continue  # it fades
        own = found.transfer >= 0
        own &= at(sent["direction"], found.transfer) == direction
        transfer = found.transfer[own]
        worst_hz = _worst_hz(known, sent, tasks, direction)
        pinned = found.rows["pinned_uhz"][own]
        elastic = found.rows["weight"][own] * found.unit_uhz[own]
        shares = np.maximum(np.where(pinned == NONE, elastic, pinned), 1)
        radio = heard(cells[0], cells[0].band(direction))
        cn0s_hz = worst_hz[transfer].tolist()
        if radio.depends_on_share:
            users = zip(cn0s_hz, shares.tolist(), strict=True)
            due = [radio.efficiency_nbit(*user) for user in users]
        else:
            due = efficiencies_nbit(radio, cn0s_hz)
        stated = found.rows["spectral_efficiency_nbit_s_hz"][own]
        is_weightless = (pinned == NONE) | (found.rows["weight"][own] == 0)
        is_right[own] = (stated == due) & is_weightless
    return is_right


def _worst_hz(
    known: Known, sent: Columns, tasks: Columns, direction: Direction
) -> Array:
    """Return the C/N0 of every message's client, or of a broadcast's weakest one."""
    radio_map = known.population.radio_map
    means_hz = radio_map.mean_hz(direction)
    ids, place = np.unique(tasks["round_id"], return_inverse=True)
    least_hz = np.full(len(ids) + 1, means_hz[radio_map.weakest_client])
    if len(ids):
        least_hz[:-1] = np.inf
        np.minimum.at(least_hz, place, means_hz[tasks["client_id"]])
    of_round = least_hz[Places(ids).of(sent["round_id"])]
    is_common = sent["client_id"] == NONE
    return np.where(is_common, of_round, means_hz[sent["client_id"]])


def check_windows(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield segments that hold a wider share than their transfer's window fills."""
    cells = known.scenario.network.cells
    paces = {
        (cell_id, direction): pace
        for cell_id, cell in enumerate(cells)
        for direction in DIRECTIONS
        if (pace := cell.band(direction).transport.pace) is not None
    }
    if not paces:
        return
    channels = _Channels(trace, known)
    transfers = {row.transfer_id: row for row in trace.transfers}
    bands = grouped(trace.bands, lambda row: (row.cell_id, row.direction))
    for segment in trace.segments:
        transfer = transfers.get(segment.transfer_id)
        if transfer is None or transfer.client_id is None:
            continue
        key = transfer.cell_id, transfer.direction
        for tick_ns, share_uhz in _shares(segment, bands.get(key, [])):
            if key not in paces:
                break
            most_uhz = channels.window_uhz(transfer, paces[key], tick_ns)
            if share_uhz > most_uhz + 1:  # one step, as above
                rule = "a share must not exceed what its window fills"
                detail = f"at {tick_ns} ns {share_uhz} uHz, the window {most_uhz} uHz"
                where = f"transfer {transfer.transfer_id}"
                yield Finding("segments", where, rule, detail)


def _shares(segment: Segment, bands: Sequence[Band]) -> Iterator[tuple[int, int]]:
    """Yield the ticks at which a segment's share is set, and the share in uHz."""
    if segment.pinned_uhz is not None:
        yield segment.start_ns, segment.pinned_uhz
        return
    place = bisect_right(bands, segment.start_ns, key=attrgetter("end_ns"))
    while place < len(bands) and bands[place].start_ns < segment.end_ns:
        start_ns = max(bands[place].start_ns, segment.start_ns)
        yield start_ns, segment.weight * bands[place].unit_share_uhz
        place += 1


class _Channels:
    """The channels of a run's transfers."""

    def __init__(self, trace: Trace, known: Known) -> None:
        self._known = known
        self._radios: dict[tuple[int, str], Radio] = {
            (cell_id, direction): heard(cell, cell.band(direction))
            for cell_id, cell in enumerate(known.scenario.network.cells)
            for direction in DIRECTIONS
        }
        self._receivers: dict[tuple[int, int], list[int]] = defaultdict(list)
        radio_map = known.population.radio_map
        first_ns: dict[tuple[int, int], int] = {}  # who starts later has no broadcast
        for task in trace.tasks_by_id:
            start_ns = task.download_start_ns
            key = task.round_id, radio_map.cell_at(task.client_id, start_ns)
            if start_ns == first_ns.setdefault(key, start_ns):
                self._receivers[key].append(task.client_id)
        self._links: dict[int, Channel] = {}

    def efficiency_nbit(
        self, transfer: Transfer, segment: Segment, unit_uhz: int
    ) -> int:
        """Return the efficiency of a segment, in 1e-9 bit/s/Hz."""
        share_uhz = segment.pinned_uhz
        if share_uhz is None:
            share_uhz = segment.weight * unit_uhz
        cn0_hz, _ = self._link(transfer).at(segment.start_ns)
        radio = self._radios[transfer.cell_id, transfer.direction]
        # the least share, where a transfer waits for its turn, as the band asks it
        return radio.efficiency_nbit(cn0_hz, max(share_uhz, 1))

    def window_uhz(self, transfer: Transfer, pace: Pace, tick_ns: int) -> int:
        """Return the share that fills a transfer's window at a tick, in uHz."""
        cn0_hz, _ = self._link(transfer).at(tick_ns)
        radio = self._radios[transfer.cell_id, transfer.direction]
        age_ns = tick_ns - transfer.start_ns
        return pace.ceiling_uhz(age_ns, radio, cn0_hz, MAX_NS)

    def _link(self, transfer: Transfer) -> Channel:
        found = self._links.get(transfer.transfer_id)
        if found is None:
            found = self._links[transfer.transfer_id] = self._new(transfer)
        return found

    def _new(self, transfer: Transfer) -> Channel:
        radio_map, cell_id = self._known.population.radio_map, transfer.cell_id
        direction: Direction = "up" if transfer.direction == "up" else "down"
        if transfer.client_id is not None:
            return radio_map.link(transfer.client_id, direction, cell_id)
        receivers = self._receivers.get((transfer.round_id, cell_id))
        ids = receivers or [radio_map.weakest_client]
        return WorstLink(tuple(radio_map.link(n, direction, cell_id) for n in ids))
