"""How one client's message crosses the air."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsim.band import Message, SharedBand, Terms, Transfer
from netsim.population import Direction

if TYPE_CHECKING:
    from netsim.protocol.participation import Participation, Process
    from netsim.protocol.stage import Stage


def carry(
    stage: Stage,
    part: Participation,
    direction: Direction,
    bits: int,
    terms: Terms | None,
) -> Process:
    """Carry a client's own message; nothing to carry takes no time."""
    if not bits:
        return
    band = stage.uplink if direction == "up" else stage.downlink
    transfer = band.send(
        Message(part.round_id, bits, part.task_id, part.client_id),
        stage.population.radio_map.link(part.client_id, direction),
        terms=terms,
        ceiling_uhz=stage.population.radio_map.ceiling_uhz(part.client_id),
    )
    part.sending = band, transfer
    yield transfer.done
    part.sending = None
    note_airtime(part, band, transfer)


def note_airtime(part: Participation, band: SharedBand, transfer: Transfer) -> None:
    """Note for how long a client's radio has sent."""
    if band.direction == "up":
        part.airtime_ns = transfer.airtime_ns
