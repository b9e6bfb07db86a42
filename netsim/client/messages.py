"""One client's own message: over the air, again after a loss, and over the backhaul."""

from __future__ import annotations

import itertools

from netsim.band import Message, Terms
from netsim.channel.latency import latency_ns
from netsim.channel.packet_errors import TransmissionErrors
from netsim.client.crossing import attach, cross
from netsim.client.participation import Participation, Process
from netsim.client.scene import Scene
from netsim.core.clock import to_ns
from netsim.network.cell import Direction
from netsim.trace.literals import Status
from netsim.trace.rows import Arrival


class Lost(Exception):
    """A message that is not sent again; ``cause`` is the status of its task."""

    def __init__(self, cause: Status) -> None:
        super().__init__(cause)
        self.cause = cause


def carry(
    scene: Scene,
    part: Participation,
    direction: Direction,
    bits: int,
    terms: Terms | None = None,
) -> Process:
    """Carry a client's own message of at least one bit.

    Every attempt is a transfer, and counts its airtime and its bits with the headers of
    its frames; a loss is known at the last bit. Raises ``Lost`` when no retries are
    left.
    """
    cell_id = attach(scene, part.client_id)
    has_wire = (cell_id, direction) in scene.cells.wires
    message = Message(part.round_id, bits, part.task_id, part.client_id)
    if has_wire and direction == "down":
        part.download_bits += bits  # of a message that is cut on the wire
        yield from cross(scene, cell_id, direction, message)
        part.download_bits -= bits
    air, medium = scene.air(cell_id, direction), scene.medium(cell_id, direction)
    radio_map, seed = scene.population.radio_map, scene.seed
    name = direction, part.client_id, part.occasion
    has_missed = direction == "down" and part.retry_pause_ns is not None
    framed = message._replace(bits=air.transport.air_bits(bits))
    pace = air.transport.pace
    if set_up_ns := air.transport.set_up_ns:
        yield scene.env.timeout(set_up_ns)
    for attempt in itertools.count(int(has_missed)):
        if grant_ns := air.transport.grant_ns:
            yield scene.env.timeout(grant_ns)
        is_lost = air.errors and air.errors.is_lost(framed.bits, seed, *name, attempt)
        part.count_bits(direction, framed.bits)
        transfer = medium.send(
            framed,
            radio_map.link(part.client_id, direction, cell_id),
            terms=terms,
            ceiling_uhz=radio_map.ceiling_uhz(part.client_id),
            pace=pace,
            ends_as="failed" if is_lost else "done",
        )
        part.sending = medium, transfer
        yield transfer.done
        part.note_sent()
        if transfer.status == "done":
            break
        pause_ns = _retry_pause_ns(air.errors, attempt, transfer.status)
        if pause_ns:
            yield scene.env.timeout(pause_ns)
    delay_ns = latency_ns(air.latency_s, air.jitter, seed, *name, attempt)
    if delay_ns:
        yield scene.env.timeout(delay_ns)
        scene.recorder.arrivals.append(Arrival(transfer.transfer_id, scene.env.now))
    if has_wire and direction == "up":
        yield from cross(scene, cell_id, direction, message)


def _retry_pause_ns(
    errors: TransmissionErrors | None, attempt: int, status: Status
) -> int:
    """Return the ticks between a lost attempt and the next one; raise ``Lost`` when no
    retries are left."""
    if errors is None or attempt >= errors.max_retries:
        raise Lost(status)
    return to_ns(errors.pause_s(attempt + 1))
