"""How the part of a download that all drawn clients share crosses the air."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

import simpy

from netsim.band import Message, Terms, Transfer
from netsim.channel import WorstLink
from netsim.channel.latency import latency_ns
from netsim.engine import Wake
from netsim.trace.rows import Arrival

if TYPE_CHECKING:
    from netsim.protocol.participation import Participation, Process
    from netsim.protocol.stage import Stage


def broadcast(
    stage: Stage, round_id: int, parts: Sequence[Participation], limit: Wake | None
) -> Process:
    """Send the common part of the download to all drawn clients at once.

    A round without anybody still costs it, at the rate of the weakest client. One that
    that has not arrived at the limit is cut, and everybody is late. Who loses it, on a
    draw of its own, is sent its download alone if there are retries.
    """
    population = stage.population
    if population.cell.downlink.mode != "broadcast":
        return
    client_ids = [part.client_id for part in parts] or [
        population.radio_map.weakest_client
    ]
    bits = stage.common_bits(round_id, parts)
    if not bits:
        return
    links = tuple(
        population.radio_map.link(client_id, "down") for client_id in client_ids
    )
    transfer = stage.downlink.send(
        Message(round_id, bits),
        WorstLink(links),
        terms=Terms(weight=1),
        ceiling_uhz=population.radio_map.ceiling_uhz,
    )
    yield transfer.done if limit is None else transfer.done | limit
    if not transfer.done.triggered:
        stage.downlink.cut(transfer, "late")
    status = str(transfer.done.value)
    if status == "done" and not (yield from _arrive(stage, round_id, transfer, limit)):
        status = "late"
    for part in parts:
        part.download_bits = bits
        _receive(stage, part, status)


def _arrive(
    stage: Stage, round_id: int, transfer: Transfer, limit: Wake | None
) -> Generator[simpy.Event, object, bool]:
    """Wait for the broadcast's latency; return whether it is there by the limit."""
    air = stage.population.cell.downlink
    name = ("broadcast", round_id)
    delay_ns = latency_ns(air.latency_s, air.jitter, stage.seed, *name)
    if not delay_ns:
        return True
    arrival = stage.env.timeout(delay_ns)
    yield arrival if limit is None else arrival | limit
    if arrival.processed:
        stage.recorder.arrivals.append(Arrival(transfer.transfer_id, stage.env.now))
    return arrival.processed


def _receive(stage: Stage, part: Participation, status: str) -> None:
    """Let one device have the broadcast, or lose it."""
    errors = stage.population.cell.downlink.errors
    if status == "done" and errors is not None:
        name = ("broadcast", part.client_id, part.occasion)
        if errors.is_lost(part.download_bits, stage.seed, *name):
            status = "failed"
    if status == "done":
        part.download_end_ns = stage.env.now
        stage.note_download(part)
    elif status != "late" and errors is not None and errors.max_retries:
        part.has_missed = True
    else:
        part.status, part.end_ns = status, stage.env.now
