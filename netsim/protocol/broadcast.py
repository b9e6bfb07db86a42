"""How the part of a download that all drawn clients share crosses the air."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netsim.band import Message, Terms
from netsim.channel import WorstLink
from netsim.engine import Wake

if TYPE_CHECKING:
    from netsim.protocol.participation import Participation, Process
    from netsim.protocol.stage import Stage


def broadcast(
    stage: Stage, round_id: int, parts: Sequence[Participation], limit: Wake | None
) -> Process:
    """Send the common part of the download to all drawn clients at once.

    A round without anybody still costs it, at the rate of the weakest client. One that
    is not over at the limit is cut, and everybody is late.
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
    for part in parts:
        part.download_bits = bits
    on_air = stage.downlink, transfer
    stage.on_air.append(on_air)
    yield transfer.done if limit is None else transfer.done | limit
    stage.on_air.remove(on_air)
    if not transfer.done.triggered:
        stage.downlink.cut(transfer, "late")
    for part in parts:
        if part.status != "running":
            continue  # gone before its end
        if transfer.done.value == "done":
            part.download_end_ns = stage.env.now
            stage.note_download(part)
        else:
            part.status, part.end_ns = "late", stage.env.now
