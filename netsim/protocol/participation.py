"""One client's part in a round: download, compute, upload, arrive."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import simpy

from netsim.band import Medium, Terms, Transfer
from netsim.clock import to_s
from netsim.protocol.carriage import Lost, carry, note_airtime
from netsim.protocol.learner import Arrival, Job
from netsim.trace import rows

if TYPE_CHECKING:
    from netsim.protocol.stage import Stage

Process = Generator[simpy.Event, object, None]


@dataclass(kw_only=True, slots=True)
class Participation:
    """What happened to one client so far; its process fills it in."""

    task_id: int
    client_id: int
    round_id: int
    start_index: int
    occasion: int  # names the draw of the compute jitter
    version: str
    has: str | None  # the version that the client got last
    rank: int | None
    weight: float | None
    download_start_ns: int
    download_end_ns: int | None = None
    compute_start_ns: int | None = None
    compute_end_ns: int | None = None
    upload_start_ns: int | None = None
    end_ns: int | None = None
    download_bits: int = 0
    upload_bits: int = 0
    compute_flop: int = 0
    airtime_ns: int = 0
    ticket: str = ""
    status: str = "running"
    has_missed: bool = False  # the round's broadcast
    sending: tuple[Medium, Transfer] | None = None

    def job(self) -> Job:
        """Return the training that this participation asks for."""
        return Job(
            self.client_id, self.start_index, self.round_id, self.version, self.rank
        )

    def arrival(self) -> Arrival:
        """Return the finished job with its weight."""
        assert self.weight is not None
        return Arrival(self.ticket, self.weight)


def take_part(stage: Stage, part: Participation, terms: Terms | None = None) -> Process:
    """Play one client's part; an interrupt, or a message that is lost for good, ends it
    with its cause as the status.

    A part whose download was a broadcast comes with its ``download_end_ns``.
    """
    learner, population = stage.learner, stage.population
    job = part.job()
    part.ticket = learner.submit(job)
    try:
        common, private = learner.bits_down(job, part.has)
        if part.download_end_ns is not None:
            common = 0
        part.download_bits += common + private
        yield from carry(stage, part, "down", common + private, None)
        part.download_end_ns = part.compute_start_ns = stage.env.now
        stage.note_download(part)
        part.compute_flop = learner.flop(job)
        if part.compute_flop:
            yield stage.env.timeout(
                population.fleet.compute_ns(
                    part.client_id, part.occasion, part.compute_flop
                )
            )
        part.compute_end_ns = part.upload_start_ns = stage.env.now
        part.upload_bits = learner.bits_up(job)
        yield from carry(stage, part, "up", part.upload_bits, terms)
        part.status = "done"
    except (simpy.Interrupt, Lost) as cut:
        part.status = str(cut.cause)
        learner.withdraw(part.ticket)
        if part.sending is not None:
            medium, transfer = part.sending
            medium.cut(transfer, part.status)
            note_airtime(part, medium, transfer)
    part.end_ns = stage.env.now


def task_row(
    stage: Stage,
    part: Participation,
    released_ns: int | None,
    *,
    merged_round_id: int | None = None,
    staleness: int | None = None,
) -> rows.Task:
    """Return the finished participation as a row.

    The device draws idle power whenever it does not compute, until the server releases
    it; the radio's power comes on top while it has a share of the uplink.
    """
    population = stage.population
    assert part.end_ns is not None
    assert released_ns is not None
    device = population.fleet.device(part.client_id)
    power_dbm = population.config.transmit_power_dbm
    return rows.Task(
        part.task_id,
        part.round_id,
        part.client_id,
        part.rank,
        part.weight,
        part.download_start_ns,
        part.download_end_ns,
        part.compute_start_ns,
        part.compute_end_ns,
        part.upload_start_ns,
        part.end_ns,
        part.download_bits,
        part.upload_bits,
        part.compute_flop,
        device.compute_energy_j(
            _between_s(part.compute_start_ns, part.compute_end_ns, part.end_ns)
        ),
        device.transmit_energy_j(power_dbm, to_s(part.airtime_ns)),
        device.idle_energy_j(
            _between_s(part.download_start_ns, part.download_end_ns, part.end_ns)
            + _between_s(part.upload_start_ns, None, part.end_ns)
            + to_s(released_ns - part.end_ns)
        ),
        merged_round_id,
        staleness,
        part.status,
    )


def _between_s(start_ns: int | None, end_ns: int | None, cut_ns: int) -> float:
    """Return the seconds of a phase that may not have begun or not have ended."""
    if start_ns is None:
        return 0.0
    return to_s((cut_ns if end_ns is None else end_ns) - start_ns)
