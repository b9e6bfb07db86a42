"""A fluid band inside the engine: one pending wake-up, one division per tick."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import simpy

from netsim.band.ahead import Ahead, Start, have_one_share
from netsim.band.fluid import FluidBand, Kept
from netsim.band.transfer import Message, Pace, Terms, Transfer
from netsim.channel.capacity import CapacityTable
from netsim.channel.link import Channel
from netsim.channel.radio import Radio
from netsim.core.engine import BANDS, Alarm, Engine
from netsim.errors import InputError
from netsim.trace import rows
from netsim.trace.literals import Status
from netsim.trace.tables import Rows

UHZ_PER_HZ = 1_000_000
MANY_SEGMENTS = 65_536  # that wait for the end of a round, where each fade is one


class BandNow(Protocol):
    """What a sharing rule can query of the band that it divides at this tick."""

    @property
    def radio(self) -> Radio: ...

    @property
    def faded(self) -> Sequence[Transfer]:
        """Return the transfers under the rule whose channel changes at this tick."""

    @property
    def ended(self) -> Sequence[Transfer]:
        """Return the transfers that have left since the last division."""

    @property
    def due(self) -> Sequence[Transfer]:
        """Return the transfers that :meth:`ask_after` named for this tick."""

    def ask_after(self, transfer: Transfer, need: int) -> None:
        """Ask the rule again, with this transfer in ``due``, when the whole band has
        passed ``need``, in micro-hertz x nanoseconds at an efficiency of 1e-9."""

    def ruled_uhz(self) -> int:
        """Return the part of the band that the rule divides, in micro-hertz."""

    def work_left(self, transfer: Transfer) -> int:
        """Return what a transfer has yet to send, in units of 1e-24 bit."""

    def kept(self, make: Callable[[], Kept]) -> Kept:
        """Return the rule's own record of this band, made at its first call."""


class Divider(Protocol):
    """The part of a sharing rule that acts at events."""

    def divide(
        self, started: Sequence[Transfer], live: Mapping[int, Transfer], band: BandNow
    ) -> Iterable[tuple[Transfer, Terms]]:
        """Return new terms where they change; ``live`` is in order of start."""


class SharedBand:
    """A band that ends its transfers; ``transfer.done`` succeeds with the status.

    All starts of a tick are admitted together at its end, in the order of client ids.
    A wake-up that a later change made stale is ignored when it fires. A measured
    ``capacity`` causes no events. A transfer that stays in outage for
    ``outage_timeout_ns``, even without a share, ends with status ``outage``.
    """

    def __init__(
        self,
        env: Engine,
        *,
        cell_id: int,
        direction: str,
        band_hz: int,
        radio: Radio,
        divider: Divider,
        ledger: Rows,
        transfer_ids: Iterator[int],
        capacity: CapacityTable | None = None,
        outage_timeout_ns: int | None = None,
    ) -> None:
        self.cell_id = cell_id
        self.direction = direction
        self.band_hz = band_hz
        self._env = env
        self._divider = divider
        self._ledger = ledger
        self._transfers = ledger.transfers
        self._bands = ledger.bands
        self._transfer_ids = transfer_ids
        band_uhz = band_hz * UHZ_PER_HZ
        self._fluid = FluidBand(
            band_uhz, radio, ledger.segments, capacity, outage_timeout_ns
        )
        self._starting: list[tuple[Transfer, Terms | None]] = []
        self._alarm = Alarm(env, BANDS, self._on_wake)
        self._division = (0, 0, 0)  # unit share, live transfers, allocated
        self._division_since_ns = 0

    def send(
        self,
        message: Message,
        channel: Channel,
        *,
        terms: Terms | None = None,
        ceiling_uhz: int | None = None,
        pace: Pace | None = None,
        ends_as: Status = "done",
        at_end: Callable[[Transfer], None] | None = None,
    ) -> Transfer:
        """Start a transfer at this tick; without ``terms`` the rule sets them.
        ``pace`` is its window, ``ends_as`` its status after its last bit. ``at_end`` is
        called in place of ``done``, before the band is divided again; it starts no
        transfer."""
        assert message.bits > 0
        transfer = Transfer(
            next(self._transfer_ids),
            message,
            channel,
            simpy.Event(self._env),
            ceiling_uhz=ceiling_uhz,
            pace=pace,
            ends_as=ends_as,
            at_end=at_end,
        )
        transfer.start_ns = self._env.now
        self._starting.append((transfer, terms))
        self._alarm.set(self._env.now)
        return transfer

    def ahead(self, starts: Sequence[Start], ceiling_uhz: int | None) -> Ahead | None:
        """Return how transfers to come will end if the band sends nothing else until
        then; None where that does not follow from their terms and channels of today.
        ``ceiling_uhz`` is that of each."""
        band_uhz = self._fluid.band_uhz
        if self._starting or not have_one_share(band_uhz, starts, ceiling_uhz):
            return None
        efficiencies = self._fluid.constant_efficiencies(
            (start.channel, start.start_ns) for start in starts
        )
        if efficiencies is None:
            return None
        ahead = Ahead(band_uhz, starts, efficiencies, ceiling_uhz)
        return ahead if ahead.play() else None

    def catch_up(self, ahead: Ahead) -> None:
        """Write the rows of transfers that have all ended by now."""
        where = self.cell_id, self.direction
        ids = [next(self._transfer_ids) for _ in ahead.starts]
        efficiencies = ahead.efficiencies_nbit
        for place, start_ns, end_ns, is_at_ceiling in ahead.intervals:
            weight, pin_uhz = ahead.starts[place].terms
            if is_at_ceiling:
                pin_uhz = ahead.ceiling_uhz
            if pin_uhz is not None:
                weight = 0
            span = ids[place], start_ns, end_ns
            row = (*span, weight, pin_uhz, efficiencies[place])
            self._ledger.segments.append(tuple.__new__(rows.Segment, row))
        for place, end_ns, _ in ahead.ends:
            start_ns, (round_id, bits, task_id, client_id), *_ = ahead.starts[place]
            sent = (ids[place], task_id, round_id, client_id, *where, bits)
            to_row = (*sent, start_ns, end_ns, "done")
            self._transfers.append(tuple.__new__(rows.Transfer, to_row))
        for division in ahead.divisions:
            self._bands.append(rows.Band(*where, *division, self.band_hz))

    def full_power_of_s(self, airtime_ns: int, held_uhz_ns: int) -> float:
        """Return the seconds at full power in which a sender radiates as much as in its
        airtime; under constant power per hertz that goes with its share."""
        full_hz = self._fluid.radio.full_power_hz
        if full_hz is None:
            return airtime_ns / 1e9
        return held_uhz_ns / (full_hz * 1e15)

    def cut(self, transfer: Transfer, status: Status) -> None:
        """End a transfer at this tick with ``status`` unless it has ended."""
        self._finish_due()
        if transfer.done.triggered:
            return
        if transfer.is_live:
            self._fluid.remove(transfer)
        else:
            self._starting = [s for s in self._starting if s[0] is not transfer]
        self._end(transfer, status)
        self._alarm.set(self._env.now)

    def free_uhz(self) -> int:
        """Return the part of the band without pinned shares, in micro-hertz."""
        return self._fluid.band_uhz - self._fluid.pinned_sum_uhz

    def full_power_s(self, transfer: Transfer) -> float:
        """Return :meth:`full_power_of_s` of a transfer, as of now."""
        now_ns = self._env.now
        held_uhz_ns = self._fluid.held_uhz_ns(transfer, now_ns)
        return self.full_power_of_s(transfer.airtime_by(now_ns), held_uhz_ns)

    def close(self) -> None:
        """Write the last division's row at the end of the run."""
        self._note_division((0, 0, 0))

    def _on_wake(self) -> None:
        """End the transfers that are due; divide when this tick ends no more."""
        if self._finish_due() and self._env.has_more_now():
            # the processes that these ends resume may start others
            self._alarm.set(self._env.now)
        else:
            self._divide()

    def _divide(self) -> None:
        fluid = self._fluid
        fluid.update_gains()
        if len(self._ledger.segments) >= MANY_SEGMENTS:  # within one round
            self._ledger.flush_full()
        started = self._admit() if self._starting else ()
        for transfer, terms in self._divider.divide(started, fluid.live, fluid):
            fluid.set_terms(transfer, terms)
        for transfer in started:
            if transfer.terms is None:
                raise InputError(
                    f"the sharing rule sets no terms for client "
                    f"{transfer.message.client_id}, which starts on the "
                    f"{self.direction}link at {self._env.now} ns"
                )
        fluid.divide()
        division = (fluid.unit_share_uhz, len(fluid.live), fluid.allocated_uhz)
        if division != self._division:
            self._note_division(division)
        next_ns = fluid.next_ns()
        if next_ns is not None:
            self._alarm.set(next_ns)

    def _admit(self) -> list[Transfer]:
        """Admit this tick's starts by client id; return those that need terms."""
        unruled = []
        if len(self._starting) > 1:
            self._starting.sort(key=lambda start: start[0].order)
        for transfer, terms in self._starting:
            self._fluid.admit(transfer)
            transfer.is_ruled = terms is None
            if terms is None:
                unruled.append(transfer)
            else:
                self._fluid.set_terms(transfer, terms)
        self._starting.clear()
        return unruled

    def _finish_due(self) -> bool:
        ended = self._fluid.advance(self._env.now)
        for transfer in ended:
            self._end(transfer, transfer.status)
        return bool(ended)

    def _end(self, transfer: Transfer, status: Status) -> None:
        row = transfer.end(self.cell_id, self.direction, self._env.now, status)
        self._transfers.append(row)

    def _note_division(self, division: tuple[int, int, int]) -> None:
        """Write the row of the division that ends now."""
        unit_share_uhz, num_live, allocated_uhz = self._division
        since_ns, now_ns = self._division_since_ns, self._env.now
        self._division, self._division_since_ns = division, now_ns
        if num_live and now_ns > since_ns:
            span = (self.cell_id, self.direction, since_ns, now_ns)
            shares = (unit_share_uhz, num_live, allocated_uhz, self.band_hz)
            self._bands.append(tuple.__new__(rows.Band, (*span, *shares)))
