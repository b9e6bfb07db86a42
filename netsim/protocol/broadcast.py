"""How the part of a download that all drawn clients share crosses the air."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

import simpy

from netsim.band import Message, Terms
from netsim.channel import WorstLink
from netsim.engine import Wake
from netsim.protocol.cells import Load, attach, cross

if TYPE_CHECKING:
    from netsim.protocol.participation import Participation, Process
    from netsim.protocol.stage import Stage


def broadcast(
    stage: Stage, round_id: int, parts: Sequence[Participation], limit: Wake | None
) -> Process:
    """Send the common part of the download to all drawn clients of one cell at once.

    A round without anybody still costs it, in the cell of the weakest client and at
    its rate. One that is not over at the limit is cut, and everybody is late.
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
    status = yield from _sent(stage, cell_id, client_ids, Load(round_id, bits), limit)
    for part in parts:
        part.download_bits = bits
        if status == "done":
            part.download_end_ns = stage.env.now
            stage.note_download(part)
        else:
            part.status, part.end_ns = "late", stage.env.now


def _sent(
    stage: Stage,
    cell_id: int,
    client_ids: Sequence[int],
    load: Load,
    limit: Wake | None,
) -> Generator[simpy.Event, object, str]:
    """Carry a broadcast over the backhaul and the air, and return how it ended."""
    status = yield from cross(stage, cell_id, "down", load, limit)
    if status != "done":
        return status
    radio_map, band = stage.population.radio_map, stage.band(cell_id, "down")
    transfer = band.send(
        Message(load.round_id, load.bits),
        WorstLink(tuple(radio_map.link(n, "down", cell_id) for n in client_ids)),
        terms=Terms(weight=1),
        ceiling_uhz=radio_map.ceiling_uhz,
    )
    yield transfer.done if limit is None else transfer.done | limit
    if not transfer.done.triggered:
        band.cut(transfer, "late")
    return str(transfer.done.value)
