"""One client's task: what it was asked for, what happened, and what that cost."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import TypeAlias

import simpy

from fl.contract import Job
from netsim.band import Medium, Transfer
from netsim.core.clock import NS_PER_S
from netsim.population import Population
from netsim.trace import rows
from netsim.trace.literals import Status

Process = Generator[simpy.Event, object, None]


@dataclass(kw_only=True, slots=True)
class Participation:
    """One client's task: fixed facts first, then the record of what happened.

    The client's process, or the callbacks in its place, and the broadcast before it
    write the record. ``status`` has three writers only: these when the task ends,
    :meth:`cut` and :meth:`discard`, so that a task which ended never runs again.
    """

    task_id: int
    job: Job
    occasion: int  # names the draws of compute jitter and of message losses
    held_version: str | None  # the version that the client received last
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
    full_power_s: float = 0.0  # of sending, a part of the power as a part of the time
    ticket: str = ""
    status: Status | None = None  # None while it runs
    retry_pause_ns: int | None = None  # set when the client lost the round's broadcast
    sending: tuple[Medium, Transfer] | None = None
    process: simpy.Process | None = None  # None until the broadcast is over
    receives: simpy.Event | None = None  # the broadcast's: succeeds if it ends before
    weight: float | None = None  # in the merge; the server's
    waits_for_release: bool = True  # at idle power, after its end; the server's
    gone_ns: int | None = None  # when it left or its battery was empty; attendance's

    @property
    def client_id(self) -> int:
        """Return the client."""
        return self.job.client_id

    @property
    def round_id(self) -> int:
        """Return the round in which it started."""
        return self.job.round_id

    def cut(self, status: Status, now_ns: int) -> None:
        """End a running task at this tick; its process notes the end itself."""
        if self.process is not None:
            self.process.interrupt(status)
        else:  # only the broadcast is under way, which goes on for the others
            self.status, self.end_ns = status, now_ns
            if self.receives is not None and not self.receives.triggered:
                self.receives.succeed()

    def discard(self, status: Status) -> None:
        """Note why the server does not merge an update that has arrived."""
        assert self.status == "done"
        self.status = status

    def count_bits(self, direction: str, bits: int) -> None:
        """Add the bits of an attempt to send or receive."""
        if direction == "up":
            self.upload_bits += bits
        else:
            self.download_bits += bits

    def note_sent(self) -> None:
        """Add the airtime and the radiation of the transfer that has ended."""
        assert self.sending is not None
        medium, transfer = self.sending
        self.sending = None
        if medium.direction == "up":
            self.airtime_ns += transfer.airtime_ns
            self.full_power_s += medium.full_power_s(transfer)

    def idle_until_ns(self, now_ns: int) -> int:
        """Return the tick at which idle power stops so far: the task's end, or the
        server's release if the client waits for it."""
        if self.end_ns is None:
            return now_ns
        if not self.waits_for_release:
            return self.end_ns
        return now_ns if self.gone_ns is None else max(self.end_ns, self.gone_ns)

    def airtime_by(self, now_ns: int) -> int:
        """Return the nanoseconds that its radio has sent by now."""
        if self.sending is None or self.sending[0].direction != "up":
            return self.airtime_ns
        return self.airtime_ns + self.sending[1].airtime_by(now_ns)

    def full_power_by_now_s(self) -> float:
        """Return the seconds at full power that its radio has sent by now."""
        if self.sending is None or self.sending[0].direction != "up":
            return self.full_power_s
        medium, transfer = self.sending
        return self.full_power_s + medium.full_power_s(transfer)


AtEnd: TypeAlias = Callable[[Participation], None]  # of a task


def running(parts: Iterable[Participation]) -> list[Participation]:
    """Return the participations that have not ended."""
    return [part for part in parts if part.status is None]


def arrived(parts: Iterable[Participation]) -> list[Participation]:
    """Return the participations whose update has arrived."""
    return [part for part in parts if part.status == "done"]


def energies_j(
    population: Population, part: Participation, now_ns: int
) -> tuple[float, float, float]:
    """Return the joules of computing, of sending and of all other time until now.

    The device draws idle power whenever it neither computes nor sends, until the server
    releases it or it is gone. Sending takes full power under fixed power, and in
    proportion to the share of the band where power per hertz is constant.
    """
    device = population.fleet.device(part.job.client_id)
    power_dbm = population.config.transmit_power_dbm
    airtime_ns, full_power_s = part.airtime_ns, part.full_power_s
    if part.sending is not None:
        airtime_ns = part.airtime_by(now_ns)
        full_power_s = part.full_power_by_now_s()
    end_ns = now_ns if part.end_ns is None else part.end_ns
    compute_s = _between_s(part.compute_start_ns, part.compute_end_ns, end_ns)
    idle_s = (
        _between_s(part.download_start_ns, part.compute_start_ns, end_ns)
        + _between_s(part.upload_start_ns, None, end_ns)
        + (part.idle_until_ns(now_ns) - end_ns) / NS_PER_S
        - airtime_ns / NS_PER_S
    )
    return (
        device.compute_energy_j(compute_s),
        device.transmit_energy_j(power_dbm, full_power_s),
        device.idle_energy_j(max(idle_s, 0.0)),
    )


def power_w(population: Population, part: Participation) -> float:
    """Return the most watts that a client may draw until its next phase: sending on the
    whole band, or waiting."""
    device = population.fleet.device(part.client_id)
    if part.end_ns is not None or part.compute_start_ns is None:
        return device.idle_power_w
    if part.upload_start_ns is None:
        return device.compute_power_w
    power_dbm = population.config.transmit_power_dbm
    sending_w = device.transmit_energy_j(power_dbm, population.most_full_power)
    return max(device.idle_power_w, sending_w)


def task_row(
    population: Population,
    part: Participation,
    now_ns: int,
    merged_round_id: int | None,
) -> rows.Task:
    """Return the finished participation as a row, as of now."""
    assert part.end_ns is not None
    assert part.status is not None
    job = part.job
    staleness = None if merged_round_id is None else merged_round_id - job.round_id
    row = (
        part.task_id,
        job.round_id,
        job.client_id,
        job.rank,
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
        staleness,
        part.status,
    )
    return tuple.__new__(rows.Task, row)


def _between_s(start_ns: int | None, end_ns: int | None, cut_ns: int) -> float:
    """Return the seconds of a phase that may not have begun or not have ended."""
    if start_ns is None:
        return 0.0
    return ((cut_ns if end_ns is None else end_ns) - start_ns) / NS_PER_S
