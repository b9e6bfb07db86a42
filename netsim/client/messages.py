"""How one client's message crosses the air, again where it is lost."""

from __future__ import annotations

import itertools
from collections.abc import Generator
from typing import TYPE_CHECKING

import simpy

from netsim.band import Medium, Message, Terms, Transfer
from netsim.channel.latency import latency_ns
from netsim.client.cells import CellLeg, Load, attach, cross
from netsim.core.clock import to_ns
from netsim.network.cell import Downlink, Uplink
from netsim.population import Direction
from netsim.trace.literals import Status
from netsim.trace.rows import Arrival

if TYPE_CHECKING:
    from netsim.client.participation import Participation, Process
    from netsim.server.stage import Stage


class Lost(Exception):
    """A message that is not sent again; ``cause`` is what became of it."""

    def __init__(self, cause: Status) -> None:
        super().__init__(cause)
        self.cause = cause


def carry(
    stage: Stage,
    part: Participation,
    direction: Direction,
    bits: int,
    terms: Terms | None,
) -> Process:
    """Carry a client's own message; nothing to carry takes no time.

    Every attempt is a transfer, and counts its bits and airtime; that it is lost is
    known at its last bit. Raises ``Lost`` when there are no retries left.
    """
    if not bits:
        return
    cell_id = attach(stage, part.client_id)
    load = Load(part.round_id, bits, part.task_id, part.client_id)
    if direction == "down":
        yield from cross(stage, cell_id, direction, load)
    yield from _over_the_air(stage, part, (cell_id, direction), bits, terms)
    if direction == "up":
        yield from cross(stage, cell_id, direction, load)


def _over_the_air(
    stage: Stage, part: Participation, leg: CellLeg, bits: int, terms: Terms | None
) -> Process:
    """Send a message until it goes through, and wait until it is there."""
    direction, errors = leg[1], _air(stage, leg).errors
    num_lost = int(direction == "down" and part.has_missed)
    for attempt in itertools.count(num_lost):
        transfer = yield from _send(stage, part, leg, bits, terms, attempt)
        if transfer.done.value == "done":
            break
        if errors is None or attempt >= errors.max_retries:
            raise Lost(transfer.status)
        pause_s = errors.pause_s(attempt + 1)
        if pause_s:
            yield stage.env.timeout(to_ns(pause_s))
        _count_bits(part, direction, bits)
    yield from _arrive(stage, part, leg, transfer, attempt)


def note_airtime(part: Participation, medium: Medium, transfer: Transfer) -> None:
    """Note for how long a client's radio has sent."""
    if medium.direction == "up":
        part.airtime_ns += transfer.airtime_ns


def _send(
    stage: Stage,
    part: Participation,
    leg: CellLeg,
    bits: int,
    terms: Terms | None,
    attempt: int,
) -> Generator[simpy.Event, object, Transfer]:
    """Send a message once, and return its transfer when that has ended."""
    cell_id, direction = leg
    errors = _air(stage, leg).errors
    name = (direction, part.client_id, part.occasion, attempt)
    is_lost = errors is not None and errors.is_lost(bits, stage.seed, *name)
    medium = _medium(stage, leg)
    transfer = medium.send(
        Message(part.round_id, bits, part.task_id, part.client_id),
        stage.population.radio_map.link(part.client_id, direction, cell_id),
        terms=terms,
        ceiling_uhz=stage.population.radio_map.ceiling_uhz(part.client_id),
        ends_as="failed" if is_lost else "done",
    )
    part.sending = medium, transfer
    yield transfer.done
    part.sending = None
    note_airtime(part, medium, transfer)
    return transfer


def _arrive(
    stage: Stage, part: Participation, leg: CellLeg, transfer: Transfer, attempt: int
) -> Process:
    """Wait until a message that was sent is there."""
    air = _air(stage, leg)
    name = (leg[1], part.client_id, part.occasion, attempt)
    delay_ns = latency_ns(air.latency_s, air.jitter, stage.seed, *name)
    if delay_ns:
        yield stage.env.timeout(delay_ns)
        stage.recorder.arrivals.append(Arrival(transfer.transfer_id, stage.env.now))


def _count_bits(part: Participation, direction: Direction, bits: int) -> None:
    """Add the bits of one more attempt to what the client has asked for."""
    if direction == "up":
        part.upload_bits += bits
    else:
        part.download_bits += bits


def _medium(stage: Stage, leg: CellLeg) -> Medium:
    if leg[1] == "down" or stage.links is None:
        return stage.band(*leg)
    return stage.links


def _air(stage: Stage, leg: CellLeg) -> Uplink | Downlink:
    cell_id, direction = leg
    return stage.population.network.cells[cell_id].band(direction)
