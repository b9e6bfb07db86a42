"""Checks each segment's spectral efficiency against its channel at its first tick."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator

from netsim.channel import Channel, Radio, WorstLink
from netsim.cosim.world import heard
from netsim.network.cell import DIRECTIONS, Direction
from netsim.trace.rows import Segment, Transfer
from netsim.verify.compare import check_equal
from netsim.verify.finding import Finding
from netsim.verify.known import Known
from netsim.verify.trace import Trace, grouped


def check_efficiencies(trace: Trace, known: Known) -> Iterator[Finding]:
    """Yield segments whose efficiency is not that of radio, channel and share."""
    channels = _Channels(trace, known)
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
        for task in trace.tasks:
            cell_id = radio_map.cell_at(task.client_id, task.download_start_ns)
            self._receivers[task.round_id, cell_id].append(task.client_id)
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
