"""How the part of a download that all drawn clients share crosses the air."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

import simpy

from netsim.band import Message, Terms, Transfer
from netsim.channel import WorstLink
from netsim.channel.latency import latency_ns
from netsim.client.cells import Load, attach, cross
from netsim.core.clock import to_ns
from netsim.core.engine import Wake
from netsim.trace.literals import Status
from netsim.trace.rows import Arrival

if TYPE_CHECKING:
    from netsim.client.participation import Participation, Process
    from netsim.server.stage import Stage


def broadcast(
    stage: Stage, round_id: int, parts: Sequence[Participation], limit: Wake | None
) -> Process:
    """Send the common part of the download to all drawn clients of one cell at once.

    A round without anybody still costs it, in the cell of the weakest client and at
    its rate. One that has not arrived at the limit is cut, and everybody is late; one
    that is hushed is cut too. Who leaves meanwhile does not end it. Who loses it, on a
    draw of its own, is sent its download alone if there are retries.
    """
    client_ids = [part.client_id for part in parts] or [
        stage.population.radio_map.weakest_client
    ]
    cell_id = attach(stage, client_ids[0])
    if stage.population.network.cells[cell_id].downlink.mode != "broadcast":
        return
    bits = stage.common_bits(round_id, parts)
    if not bits:
        return
    for part in parts:
        part.download_bits = bits
    ends = (stage.hushed,) if limit is None else (stage.hushed, limit)
    status = yield from _sent(stage, cell_id, client_ids, Load(round_id, bits), ends)
    for part in parts:
        if part.status == "running":  # it may be gone by now
            _receive(stage, cell_id, part, status)


def _sent(
    stage: Stage,
    cell_id: int,
    client_ids: Sequence[int],
    load: Load,
    ends: Sequence[simpy.Event],
) -> Generator[simpy.Event, object, Status]:
    """Carry a broadcast over the backhaul and the air until one of the events that end
    it, and return how it ended."""
    status = yield from cross(stage, cell_id, "down", load, ends)
    if status != "done":
        return status
    radio_map, band = stage.population.radio_map, stage.band(cell_id, "down")
    transfer = band.send(
        Message(load.round_id, load.bits),
        WorstLink(tuple(radio_map.link(n, "down", cell_id) for n in client_ids)),
        terms=Terms(weight=1),
        ceiling_uhz=radio_map.ceiling_uhz(*client_ids),
    )
    yield stage.env.any_of([transfer.done, *ends])
    if not transfer.done.triggered:
        band.cut(transfer, "late")
    status = transfer.status
    if status == "done" and not (yield from _arrive(stage, cell_id, transfer, ends)):
        status = "late"
    return status


def _arrive(
    stage: Stage, cell_id: int, transfer: Transfer, ends: Sequence[simpy.Event]
) -> Generator[simpy.Event, object, bool]:
    """Wait for the broadcast's latency; return whether it is there before its end."""
    air = stage.population.network.cells[cell_id].downlink
    name = f"broadcast/{cell_id}" if cell_id else "broadcast"
    round_id = transfer.message.round_id
    delay_ns = latency_ns(air.latency_s, air.jitter, stage.seed, name, round_id)
    if not delay_ns:
        return True
    arrival = stage.env.timeout(delay_ns)
    yield stage.env.any_of([arrival, *ends])
    if arrival.processed:
        stage.recorder.arrivals.append(Arrival(transfer.transfer_id, stage.env.now))
    return arrival.processed


def _receive(stage: Stage, cell_id: int, part: Participation, status: Status) -> None:
    """Let one device have the broadcast, or lose it."""
    errors = stage.population.network.cells[cell_id].downlink.errors
    if status == "done" and errors is not None:
        name = ("broadcast", part.client_id, part.occasion)
        if errors.is_lost(part.download_bits, stage.seed, *name):
            status = "failed"
    if status == "done":
        part.download_end_ns = stage.env.now
        stage.note_download(part)
    elif status != "late" and errors is not None and errors.max_retries:
        part.has_missed, part.pause_ns = True, to_ns(errors.pause_s(1))
    else:
        part.status, part.end_ns = status, stage.env.now
