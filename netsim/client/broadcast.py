"""The download that all drawn clients of a cell share, as one transfer."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import simpy

from fl.contract import Job
from netsim.band import Message, Terms, Transfer
from netsim.channel import WorstLink
from netsim.channel.latency import latency_ns
from netsim.client.crossing import attach, cross
from netsim.client.participation import Participation, Process
from netsim.client.scene import Scene
from netsim.core.clock import to_ns
from netsim.learner.learner import Learner
from netsim.trace.literals import Status
from netsim.trace.rows import Arrival


def broadcast(
    scene: Scene,
    parts: Sequence[Participation],
    missing: Job,
    ends: Sequence[simpy.Event],
) -> Process:
    """Send the common part of the download to all drawn clients of one cell at once.

    A round without participants still sends it, to the client of the job ``missing``.
    At one of the events ``ends`` a broadcast is cut, and all its receivers are late. It
    is cut, too, when its last receiver leaves. A client that loses it, on a draw of its
    own, gets its download alone if there are retries.
    """
    client_ids = [part.client_id for part in parts] or [missing.client_id]
    cell_id = attach(scene, client_ids[0])
    if scene.population.network.cells[cell_id].downlink.mode != "broadcast":
        return
    bits = _common_bits(scene.learner, parts, missing)
    if not bits:
        return
    for part in parts:
        part.download_bits = bits
    if parts and (ends or not scene.attendance.is_constant):
        for part in parts:
            part.receives = scene.env.event()
        left = [part.receives for part in parts if part.receives is not None]
        ends = [*ends, scene.env.all_of(left)]
    message = Message(missing.round_id, bits)
    status = yield from cross(scene, cell_id, "down", message, ends)
    if status == "done":
        air_bits = scene.air(cell_id, "down").transport.air_bits(bits)
        for part in parts:
            part.download_bits = air_bits
        framed = message._replace(bits=air_bits)
        status = yield from _sent(scene, cell_id, client_ids, framed, ends)
    for part in parts:
        if part.status is None:  # its client may be gone by now
            _receive(scene, cell_id, part, status)


def _common_bits(learner: Learner, parts: Sequence[Participation], missing: Job) -> int:
    """Return the largest number of bits that a receiver needs; without receivers that
    of a client which holds the present version."""
    if not parts:
        return learner.bits_down(missing, missing.version)[0]
    return max(learner.bits_down(part.job, part.held_version)[0] for part in parts)


def _sent(
    scene: Scene,
    cell_id: int,
    client_ids: Sequence[int],
    message: Message,
    ends: Sequence[simpy.Event],
) -> Generator[simpy.Event, object, Status]:
    """Carry a broadcast over the air until one of the events that end it, and return
    how it ended."""
    radio_map, band = scene.population.radio_map, scene.band(cell_id, "down")
    transfer = band.send(
        message,
        WorstLink(tuple(radio_map.link(n, "down", cell_id) for n in client_ids)),
        terms=Terms(weight=1),
        ceiling_uhz=radio_map.ceiling_uhz(*client_ids),
    )
    yield scene.env.any_of([transfer.done, *ends])
    if not transfer.done.triggered:
        band.cut(transfer, "late")
    status = transfer.status
    if status == "done" and not (yield from _arrive(scene, cell_id, transfer, ends)):
        status = "late"
    return status


def _arrive(
    scene: Scene, cell_id: int, transfer: Transfer, ends: Sequence[simpy.Event]
) -> Generator[simpy.Event, object, bool]:
    """Wait for the broadcast's latency; return whether it arrived before its end."""
    air = scene.air(cell_id, "down")
    name = f"broadcast/{cell_id}" if cell_id else "broadcast"
    round_id = transfer.message.round_id
    delay_ns = latency_ns(air.latency_s, air.jitter, scene.seed, name, round_id)
    if not delay_ns:
        return True
    arrival = scene.env.timeout(delay_ns)
    yield scene.env.any_of([arrival, *ends])
    if arrival.processed:
        scene.recorder.arrivals.append(Arrival(transfer.transfer_id, scene.env.now))
    return arrival.processed


def _receive(scene: Scene, cell_id: int, part: Participation, status: Status) -> None:
    """Note that one client received the broadcast, or lost it."""
    errors = scene.air(cell_id, "down").errors
    if status == "done" and errors is not None:
        name = ("broadcast", part.client_id, part.occasion)
        if errors.is_lost(part.download_bits, scene.seed, *name):
            status = "failed"
    if status == "done":
        part.download_end_ns = scene.env.now
        scene.held_versions[part.client_id] = part.job.version
    elif status != "late" and errors is not None and errors.max_retries:
        part.retry_pause_ns = to_ns(errors.pause_s(1))
    else:
        part.cut(status, scene.env.now)
