"""Tasks that nothing can cut short, without a process for each.

A process of its own lets a task be interrupted and its message be sent again. Where the
server waits for every client, none leaves, and no message is lost or delayed, the same
ticks follow from three callbacks: received, computed, sent. Where besides all uploads
are known when the first begins, and their shares follow from these alone, the band
computes their ends ahead of the clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import simpy

from fl.contract import NOTHING
from netsim.band import Message, Terms, Transfer
from netsim.band.ahead import Ahead, Start
from netsim.client.participation import AtEnd, Participation
from netsim.client.scene import Scene
from netsim.core.engine import Ring
from netsim.network.cell import DIRECTIONS
from netsim.sharing.equal import EQUAL

TIMEOUTS: Final = 1  # SimPy's priority of a timeout


def is_undisturbed(scene: Scene, cell_id: int) -> bool:
    """Return whether every task in a cell ends by itself, each message at its last
    bit, if the server cuts none."""
    airs = [scene.air(cell_id, direction) for direction in DIRECTIONS]
    return (
        scene.attendance.is_constant
        and scene.links is None
        and scene.population.radio_map.is_static
        and not any((cell_id, one) in scene.cells.wires for one in DIRECTIONS)
        and all(
            air.errors is None
            and air.outage_timeout_s is None
            and air.jitter is None
            and not air.latency_s
            and not air.transport.delay_s
            and air.transport.pace is None
            for air in airs
        )
    )


def play_undisturbed(
    scene: Scene,
    cell_id: int,
    parts: Sequence[Participation],
    terms: Mapping[int, Terms],
    at_end: AtEnd,
) -> simpy.Event:
    """Start all tasks of a cell, and return the event of the last one's end."""
    tasks = _Tasks(scene, cell_id, terms, at_end, len(parts))
    waiting = [part for part in parts if tasks.is_complete(part)]
    for part in waiting:
        tasks.receive(part)
    if len(waiting) == len(parts) and tasks.play_ahead(parts):
        return tasks.over
    for part in waiting:
        tasks.compute(part)
    return tasks.over


class _Tasks:
    """The tasks of one cell in one round."""

    def __init__(
        self,
        scene: Scene,
        cell_id: int,
        terms: Mapping[int, Terms],
        at_end: AtEnd,
        num_tasks: int,
    ) -> None:
        self.over = scene.env.event()
        self._scene = scene
        self._cell_id = cell_id
        self._terms = terms
        self._at_end = at_end
        self._num_left = num_tasks
        self._uplink = scene.band(cell_id, "up")
        self._air_bits = scene.air(cell_id, "up").transport.air_bits

    def is_complete(self, part: Participation) -> bool:
        """Start a task; return whether the broadcast has brought all, and otherwise
        send the rest."""
        learner, job = self._scene.learner, part.job
        part.ticket = learner.submit(job)
        common, private = learner.bits_down(job, part.held_version)
        bits = private if part.download_end_ns is not None else common + private
        if not bits:
            return True
        downlink = self._scene.air(self._cell_id, "down")
        part.download_bits += (framed := downlink.transport.air_bits(bits))
        radio_map, client_id = self._scene.population.radio_map, part.client_id
        transfer = self._scene.band(self._cell_id, "down").send(
            Message(part.round_id, framed, part.task_id, client_id),
            radio_map.link(client_id, "down", self._cell_id),
            ceiling_uhz=radio_map.ceiling_uhz(client_id),
        )
        transfer.done.callbacks.append(lambda _: self._received(part))
        return False

    def _received(self, part: Participation) -> None:
        self.receive(part)
        self.compute(part)

    def receive(self, part: Participation) -> None:
        """Note that a client has all that it needs, and when it will have computed."""
        scene, job = self._scene, part.job
        part.download_end_ns = part.compute_start_ns = now_ns = scene.env.now
        scene.held_versions[job.client_id] = job.version
        work, span_ns = scene.learner.work(job), 0
        part.compute_flop = work.flop
        if work != NOTHING:
            span_ns = scene.population.fleet.compute_ns(
                job.client_id, part.occasion, work
            )
        part.compute_end_ns = part.upload_start_ns = now_ns + span_ns

    def compute(self, part: Participation) -> None:
        """Send the update when it is computed."""
        assert part.compute_end_ns is not None
        env = self._scene.env
        if part.compute_end_ns == env.now:
            self._computed(part)
        else:
            ring = Ring([lambda _: self._computed(part)])
            env.schedule_at(ring, TIMEOUTS, part.compute_end_ns)

    def _computed(self, part: Participation) -> None:
        client_id, message = part.client_id, self._message(part)
        if not message.bits:
            self._end(part, self._scene.env.now)
            return
        radio_map = self._scene.population.radio_map
        self._uplink.send(
            message,
            radio_map.link(client_id, "up", self._cell_id),
            terms=self._terms.get(client_id),
            ceiling_uhz=radio_map.ceiling_uhz(client_id),
            at_end=partial(self._sent, part),
        )

    def _message(self, part: Participation) -> Message:
        bits = self._scene.learner.bits_up(part.job)
        part.upload_bits = self._air_bits(bits) if bits else 0
        return Message(part.round_id, part.upload_bits, part.task_id, part.client_id)

    def _sent(self, part: Participation, transfer: Transfer) -> None:
        part.airtime_ns = transfer.airtime_ns
        part.full_power_s = self._uplink.full_power_s(transfer)
        self._end(part, self._scene.env.now)

    def _end(self, part: Participation, now_ns: int) -> None:
        part.status, part.end_ns = "done", now_ns
        self._at_end(part)
        self._num_left -= 1
        if not self._num_left:
            self.over.succeed()

    def play_ahead(self, parts: Sequence[Participation]) -> bool:
        """Compute all ends at once if the band can, and return whether it can."""
        scene, terms = self._scene, self._terms
        radio_map = scene.population.radio_map
        if len(scene.cells.bands) > len(DIRECTIONS):
            return False  # ids of transfers are in order of all cells' starts
        traits = scene.population.network.cells[0].uplink.sharing.traits
        if "divides-equally" in traits:
            terms = dict.fromkeys([part.client_id for part in parts], EQUAL)
        ceilings = {radio_map.ceiling_uhz(part.client_id) for part in parts}
        if len(terms) < len(parts) or len(ceilings) > 1:
            return False
        parts = sorted(parts, key=_upload_start_ns)
        starts = [
            Start(
                _upload_start_ns(part),
                self._message(part),
                radio_map.link(part.client_id, "up", 0),
                terms[part.client_id],
            )
            for part in parts
        ]
        ahead = self._uplink.ahead(starts, ceilings.pop())
        if ahead is None:
            return False
        wait = scene.env.timeout(ahead.ends[-1][1] - scene.env.now)
        wait.callbacks.append(lambda _: self._catch_up(parts, ahead))
        return True

    def _catch_up(self, parts: Sequence[Participation], ahead: Ahead) -> None:
        self._uplink.catch_up(ahead)
        for place, end_ns, held_uhz_ns in ahead.ends:
            part = parts[place]
            part.airtime_ns = end_ns - _upload_start_ns(part)
            part.full_power_s = self._uplink.full_power_of_s(
                part.airtime_ns, held_uhz_ns
            )
            self._end(part, end_ns)


def _upload_start_ns(part: Participation) -> int:
    assert part.upload_start_ns is not None
    return part.upload_start_ns
