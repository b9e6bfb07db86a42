"""One client's part in a round: download, compute, upload, arrive."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import simpy

from fl.contract import Arrival, Job
from netsim.band import Medium, Terms, Transfer
from netsim.client.energy import energies_j
from netsim.client.messages import Lost, carry, note_airtime
from netsim.trace import rows
from netsim.trace.literals import Status

if TYPE_CHECKING:
    from netsim.population import Population
    from netsim.server.stage import Stage

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
    status: Status | Literal["running"] = "running"
    has_missed: bool = False  # the round's broadcast
    pause_ns: int = 0  # before it is sent what it has missed
    sending: tuple[Medium, Transfer] | None = None
    process: simpy.Process | None = None  # none yet while a broadcast goes on
    waits: bool = True  # for the server's word when it has ended
    gone_ns: int | None = None  # when it left, or its battery was empty

    def job(self) -> Job:
        """Return the training that this participation asks for."""
        return Job(
            self.client_id, self.start_index, self.round_id, self.version, self.rank
        )

    def arrival(self, *, is_mixed: bool = False) -> Arrival:
        """Return the finished job with its weight."""
        assert self.weight is not None
        return Arrival(self.ticket, self.weight, is_mixed)

    def released_ns(self, now_ns: int) -> int:
        """Return until when it draws idle power, as of now: once it has ended until the
        server lets it go, if it waits for that and is not gone."""
        if self.end_ns is None:
            return now_ns
        if not self.waits:
            return self.end_ns
        return now_ns if self.gone_ns is None else max(self.end_ns, self.gone_ns)

    def airtime_by(self, now_ns: int) -> int:
        """Return for how long its radio has sent until now."""
        if self.sending is None or self.sending[0].direction != "up":
            return self.airtime_ns
        return self.airtime_ns + self.sending[1].airtime_by(now_ns)


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
        if part.pause_ns:
            yield stage.env.timeout(part.pause_ns)
        part.download_bits += common + private
        yield from carry(stage, part, "down", common + private, None)
        part.download_end_ns = part.compute_start_ns = stage.env.now
        stage.note_download(part)
        stage.attendance.changed(part)
        part.compute_flop = learner.flop(job)
        if part.compute_flop:
            yield stage.env.timeout(
                population.fleet.compute_ns(
                    part.client_id, part.occasion, part.compute_flop
                )
            )
        part.compute_end_ns = part.upload_start_ns = stage.env.now
        part.upload_bits = learner.bits_up(job)
        stage.attendance.changed(part)
        yield from carry(stage, part, "up", part.upload_bits, terms)
        part.status = "done"
    except (simpy.Interrupt, Lost) as cut:
        status = part.status = cast(Status, cut.cause)
        learner.withdraw(part.ticket)
        if part.sending is not None:
            medium, transfer = part.sending
            medium.cut(transfer, status)
            part.sending = None
            note_airtime(part, medium, transfer)
    part.end_ns = stage.env.now
    stage.attendance.ended(part)


def task_row(
    population: Population,
    part: Participation,
    now_ns: int,
    merged_round_id: int | None,
) -> rows.Task:
    """Return the finished participation as a row, as of now."""
    assert part.end_ns is not None
    assert part.status != "running"
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
        *energies_j(population, part, now_ns),
        merged_round_id,
        None if merged_round_id is None else merged_round_id - part.round_id,
        part.status,
    )
