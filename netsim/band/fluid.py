"""The exact arithmetic of one shared band: which transfer ends at which tick.

A transfer is elastic (its share is ``weight`` x the unit share) or pinned (its share is
constant). At constant efficiency an elastic transfer needs a fixed amount of the band's
virtual time, ``dV = unit_share * dt``, and a pinned one a fixed real time. Two heaps
therefore find the next end in O(log n), and an event touches only the transfers whose
own terms change. All quantities are Python integers.

On a measured band ``elapsed`` is the integral of the measured capacity instead of time;
inverting that integral gives the tick of an end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from typing import TypeVar, cast

from netsim.band.ceilings import Ceilings
from netsim.band.outages import Outages
from netsim.band.progress import Progress
from netsim.band.transfer import ID_BITS, ID_MASK, Pace, Terms, Transfer
from netsim.channel.averaged import efficiencies_nbit
from netsim.channel.capacity import CapacityTable
from netsim.channel.link import Channel
from netsim.channel.radio import Radio
from netsim.core.clock import MAX_NS
from netsim.errors import InputError
from netsim.trace.rows import Segment

# an entry of a heap is one number: a tick or a virtual time, then a transfer's order
ORDER_BITS = ID_BITS + 40
PINNED = 1 << (ORDER_BITS - 1)  # set in the entries of one heap of ends
Kept = TypeVar("Kept")


class FluidBand:
    """One band's live transfers; the caller advances it from event to event."""

    def __init__(
        self,
        band_uhz: int,
        radio: Radio,
        segments: list[Segment],
        capacity: CapacityTable | None = None,
        outage_timeout_ns: int | None = None,
    ) -> None:
        self.band_uhz = band_uhz
        self.unit_share_uhz = 0
        self.pinned_sum_uhz = 0  # pinned by their terms or by their ceiling
        self.weight_sum = 0  # of the elastic transfers
        self.live: dict[int, Transfer] = {}
        self.radio = radio
        self._segments = segments
        self._capacity = capacity  # of a measured band
        self._now_ns = 0
        self._elapsed = 0  # nanoseconds, or the integral of a measured capacity
        self._virtual = 0
        self._passed = 0  # the integral of the unit share over time, in uHz ns
        self._virtual_ends: list[int] = []
        self._real_ends: list[int] = []
        self._gain_changes: list[int] = []
        self._ceilings: Ceilings | None = None  # made for the first that has one
        self._outages = (
            None if outage_timeout_ns is None else Outages(outage_timeout_ns)
        )
        self._to_rate: list[Transfer] = []  # their efficiency or end is out of date
        self.faded: list[Transfer] = []  # ruled, with a new channel at this tick
        self.ended: list[Transfer] = []  # since the last division
        self.due: list[Transfer] = []  # the rule asked for them at this tick
        self._asked: list[tuple[int, int, Transfer]] = []
        self._progress = Progress()
        self._given_uhz = 0  # pinned, of transfers that came with their own terms
        self._kept: object = None  # the rule's

    @property
    def allocated_uhz(self) -> int:
        """Return the allocated part of the band, in micro-hertz."""
        return self.unit_share_uhz * self.weight_sum + self.pinned_sum_uhz

    def advance(self, now_ns: int) -> Sequence[Transfer]:
        """Advance to ``now_ns``, and remove and return the transfers that end there:
        those that have sent all, by client id, and those in outage for too long.
        """
        if now_ns == self._now_ns:
            return ()  # they have been returned
        capacity, unit = self._capacity, self.unit_share_uhz
        elapsed = now_ns if capacity is None else capacity.at(now_ns)
        self._virtual += unit * (elapsed - self._elapsed)
        self._passed += unit * (now_ns - self._now_ns)
        self._elapsed, self._now_ns = elapsed, now_ns
        ended = self._due(self._virtual_ends, self._virtual)
        if self._real_ends:
            ended += self._due(self._real_ends, elapsed)
        if len(ended) > 1:
            ended.sort(key=_order)
        for transfer in ended:
            self.remove(transfer)
        if self._outages is not None:
            for transfer in self._outages.due(now_ns):
                transfer.status = "outage"
                self.remove(transfer)
                ended.append(transfer)
        return ended

    def _due(self, ends: list[int], limit: int) -> list[Transfer]:
        """Remove the entries up to a limit; return the transfers that end there."""
        found, live, beyond = [], self.live, (limit + 1) << ORDER_BITS
        while ends and ends[0] < beyond:
            key = heappop(ends)
            transfer = live.get(key & ID_MASK)
            if transfer is not None and transfer.end_key == key:
                transfer.end_key = 0  # it may have two equal entries
                found.append(transfer)
        return found

    def constant_efficiencies(
        self, channels: Iterable[tuple[Channel, int]]
    ) -> list[int] | None:
        """Return the efficiencies on channels at ticks, in 1e-9 bit/s/Hz; None where
        one may change, or a transfer is live."""
        if self.live or self._capacity or self._outages or self.radio.depends_on_share:
            return None
        cn0s_hz = []
        for channel, tick_ns in channels:
            cn0_hz, change_ns = channel.at(tick_ns)
            if change_ns is not None:
                return None
            cn0s_hz.append(cn0_hz)
        return efficiencies_nbit(self.radio, cn0s_hz)

    def admit(self, transfer: Transfer) -> None:
        """Add a transfer at this tick; :meth:`set_terms` must follow."""
        transfer.is_live = True
        transfer.start_ns = transfer.since_ns = self._now_ns
        transfer.since_virtual = self._virtual
        transfer.since_passed = self._passed
        transfer.since_elapsed = self._elapsed
        self.live[transfer.transfer_id] = transfer
        self._read_channel(transfer)

    def remove(self, transfer: Transfer) -> None:
        """Remove a transfer at this tick, finished or not."""
        if self._now_ns != transfer.since_ns:
            self._end_segment(transfer)
        self._add_to_sums(transfer, -1)
        transfer.is_live = False
        del self.live[transfer.transfer_id]
        self.ended.append(transfer)
        self._progress.restart()

    def set_terms(self, transfer: Transfer, terms: Terms) -> None:
        """Change a live transfer's terms from this tick on."""
        if transfer.terms is not None:
            if terms == (transfer.weight, transfer.pinned_uhz):
                transfer.terms = terms
                return
            self._leave(transfer)
        self._take(transfer, terms)

    def _leave(self, transfer: Transfer) -> None:
        """Book the work under the present terms, which end now."""
        self._book_work(transfer)
        self._add_to_sums(transfer, -1)
        transfer.is_at_ceiling = False

    def _take(self, transfer: Transfer, terms: Terms) -> None:
        transfer.terms = terms
        transfer.weight, transfer.pinned_uhz = terms
        ceiling = transfer.ceiling_uhz
        if ceiling is not None:
            if terms.pinned_uhz is None:
                self._watch(transfer)
            else:
                transfer.pinned_uhz = min(terms.pinned_uhz, ceiling)
        transfer.pin_uhz = transfer.pinned_uhz
        self._add_to_sums(transfer, 1)
        self._to_rate.append(transfer)

    def update_gains(self) -> None:
        """Update every transfer whose channel changes at this tick."""
        if self._asked:
            self.due = _popped(self._asked, self._now_ns)
        changes, num_before = self._gain_changes, len(self._to_rate)
        beyond = (self._now_ns + 1) << ORDER_BITS
        if not changes or changes[0] >= beyond:
            return
        while changes and changes[0] < beyond:
            transfer = self.live.get(heappop(changes) & ID_MASK)
            if transfer is not None:
                self._read_channel(transfer)
                self._to_rate.append(transfer)
                if transfer.is_ruled:
                    self.faded.append(transfer)
        if self._progress.is_due(len(self._to_rate) - num_before):
            self._progress.require(self.live.values(), self.work_left)

    def divide(self) -> None:
        """Compute the unit share and the new ends after all changes of this tick."""
        if self._ceilings is not None:
            self._apply_ceilings(self._ceilings)
        spare = self.band_uhz - self.pinned_sum_uhz
        if spare < 0:
            raise InputError(
                f"the sharing rule allocates {-spare} uHz more than the band of "
                f"{self.band_uhz} uHz"
            )
        unit = spare // self.weight_sum if self.weight_sum else 0
        if self.radio.depends_on_share and unit != self.unit_share_uhz:
            self._to_rate += self._elastic()
        self.unit_share_uhz = unit
        for transfer in self._to_rate:
            if transfer.is_live:
                self._update_rate(transfer)
        self._to_rate.clear()
        self.faded.clear()
        self.ended.clear()
        self.due = []

    def next_ns(self) -> int | None:
        """Return the next tick at which a transfer ends, its channel changes or its
        outage times out; None without live transfers."""
        if not self.live:
            return None
        next_ns = self._next_end_ns()
        changes = self._gain_changes
        while changes and changes[0] & ID_MASK not in self.live:
            heappop(changes)
        if changes:
            next_ns = min(next_ns, changes[0] >> ORDER_BITS)
        if self._asked:
            next_ns = min(next_ns, self._asked[0][0])
        if self._outages is not None:
            next_ns = min(next_ns, self._outages.next_ns())
        if next_ns > MAX_NS:
            raise InputError(_starved(self.live.values()))
        return next_ns

    def _next_end_ns(self) -> int:
        """Return the tick of the next end, ``MAX_NS + 1`` if there is none."""
        end, unit = None, self.unit_share_uhz
        if unit and (virtual_end := self._first(self._virtual_ends)) is not None:
            end = self._elapsed - (self._virtual - virtual_end) // unit
        if self._real_ends and (real_end := self._first(self._real_ends)) is not None:
            end = real_end if end is None else min(end, real_end)
        if end is None:
            return MAX_NS + 1
        return end if self._capacity is None else self._capacity.first_ns(end)

    def ask_after(self, transfer: Transfer, need: int) -> None:
        """Have a transfer in ``due`` when the whole band has passed ``need``, in
        micro-hertz x nanoseconds, at an efficiency of 1e-9."""
        end = self._elapsed - -need // self.band_uhz
        due_ns = end if self._capacity is None else self._capacity.first_ns(end)
        heappush(self._asked, (due_ns, transfer.order, transfer))

    def ruled_uhz(self) -> int:
        """Return the band that the rule divides, in micro-hertz: the band less the
        shares of transfers that came with their own terms."""
        return self.band_uhz - self._given_uhz

    def kept(self, make: Callable[[], Kept]) -> Kept:
        """Return what the rule keeps of this band, made at the first call."""
        if self._kept is None:
            self._kept = make()
        return cast(Kept, self._kept)

    def work_left(self, transfer: Transfer) -> int:
        """Return what a live transfer has yet to send at this tick, in 1e-24 bit."""
        pin, efficiency = transfer.pin_uhz, transfer.efficiency_nbit
        if pin is None:
            virtual = self._virtual - transfer.since_virtual
            return transfer.remaining - transfer.weight * efficiency * virtual
        return transfer.remaining - pin * efficiency * (
            self._elapsed - transfer.since_elapsed
        )

    def held_uhz_ns(self, transfer: Transfer, now_ns: int) -> int:
        """Return the integral of a transfer's share, if the present terms hold until
        ``now_ns``."""
        if not transfer.is_live:
            return transfer.held_uhz_ns
        pin = transfer.pin_uhz
        if pin is not None:
            return transfer.held_uhz_ns + pin * (now_ns - transfer.since_ns)
        passed = self._passed + self.unit_share_uhz * (now_ns - self._now_ns)
        return transfer.held_uhz_ns + transfer.weight * (passed - transfer.since_passed)

    def _watch(self, transfer: Transfer) -> None:
        if self._ceilings is None:
            self._ceilings = Ceilings()
        self._ceilings.watch(transfer)

    def _apply_ceilings(self, ceilings: Ceilings) -> None:
        spare = self.band_uhz - self.pinned_sum_uhz
        freed, pinned = ceilings.balance(spare, self.weight_sum)
        for transfer in freed:
            self._switch(transfer, 1)
        for transfer in pinned:
            self._switch(transfer, -1)

    def _elastic(self) -> list[Transfer]:
        return [t for t in self.live.values() if t.pin_uhz is None]

    def _read_channel(self, transfer: Transfer) -> None:
        transfer.cn0_hz, change_ns = transfer.channel.at(self._now_ns)
        if transfer.pace is not None:
            change_ns = self._follow(transfer, transfer.pace, change_ns)
        if change_ns is not None:
            heappush(self._gain_changes, change_ns << ORDER_BITS | transfer.order)

    def _follow(
        self, transfer: Transfer, pace: Pace, change_ns: int | None
    ) -> int | None:
        """Set the ceiling that a transfer's window is at this tick; return the tick of
        the next change of its channel or its window."""
        age_ns = self._now_ns - transfer.start_ns
        radio_uhz = transfer.radio_uhz
        most_uhz = self.band_uhz if radio_uhz is None else min(self.band_uhz, radio_uhz)
        ceiling_uhz = pace.ceiling_uhz(age_ns, self.radio, transfer.cn0_hz, most_uhz)
        if ceiling_uhz != transfer.ceiling_uhz:
            transfer.ceiling_uhz = ceiling_uhz
            if transfer.terms is None:
                pass  # it starts
            elif transfer.pin_uhz is None:
                self._watch(transfer)
            else:
                self._leave(transfer)
                self._take(transfer, transfer.terms)
        grows_ns = pace.next_ns(age_ns)
        if grows_ns is None or ceiling_uhz == most_uhz:
            return change_ns
        grows_ns += transfer.start_ns
        return grows_ns if change_ns is None else min(change_ns, grows_ns)

    def _add_to_sums(self, transfer: Transfer, sign: int) -> None:
        pin = transfer.pin_uhz
        if pin is None:
            self.weight_sum += sign * transfer.weight
        else:
            self._pin_more(transfer, sign * pin)

    def _pin_more(self, transfer: Transfer, more_uhz: int) -> None:
        self.pinned_sum_uhz += more_uhz
        if not transfer.is_ruled:
            self._given_uhz += more_uhz

    def _switch(self, transfer: Transfer, sign: int) -> None:
        """Make a transfer elastic (sign 1) or pin it at its ceiling (sign -1)."""
        self._book_work(transfer)
        transfer.pin_uhz = transfer.ceiling_uhz if sign < 0 else None
        self.weight_sum += sign * transfer.weight
        self._pin_more(transfer, -sign * (transfer.ceiling_uhz or 0))
        self._to_rate.append(transfer)

    def _book_work(self, transfer: Transfer) -> None:
        """Subtract the work done since the last change and write its segment."""
        if self._now_ns == transfer.since_ns:
            return
        transfer.remaining = self.work_left(transfer)
        self._end_segment(transfer)
        transfer.since_ns, transfer.since_virtual = self._now_ns, self._virtual
        transfer.since_elapsed, transfer.since_passed = self._elapsed, self._passed

    def _end_segment(self, transfer: Transfer) -> None:
        """Write the segment that ends now, with its airtime and its share of it."""
        since_ns, now_ns, pin = transfer.since_ns, self._now_ns, transfer.pin_uhz
        if pin is None:
            weight = transfer.weight
            held_uhz_ns = weight * (self._passed - transfer.since_passed)
        else:
            weight, held_uhz_ns = 0, pin * (now_ns - since_ns)
        transfer.held_uhz_ns += held_uhz_ns
        if pin or transfer.weight:
            transfer.airtime_ns += now_ns - since_ns
        span, efficiency = (
            (transfer.transfer_id, since_ns, now_ns),
            transfer.efficiency_nbit,
        )
        self._segments.append(tuple.__new__(Segment, (*span, weight, pin, efficiency)))

    def _update_rate(self, transfer: Transfer) -> None:
        """Compute efficiency and end under the present terms."""
        pin = transfer.pin_uhz
        share = transfer.weight * self.unit_share_uhz if pin is None else pin
        efficiency = self.radio.efficiency_nbit(transfer.cn0_hz, share or 1)
        if efficiency != transfer.efficiency_nbit:
            self._book_work(transfer)
            transfer.efficiency_nbit = efficiency
        if self._outages is not None:
            self._outages.update(transfer, self._now_ns)
        speed = efficiency * (transfer.weight if pin is None else pin)
        if not speed:
            transfer.end_key = 0
            return
        need = -(-transfer.remaining // speed)
        if pin is None:
            key = (transfer.since_virtual + need) << ORDER_BITS | transfer.order
            heappush(self._virtual_ends, key)
        else:
            key = (transfer.since_elapsed + need) << ORDER_BITS | transfer.order
            key |= PINNED
            heappush(self._real_ends, key)
        transfer.end_key = key

    def _first(self, ends: list[int]) -> int | None:
        """Return the first end that is not stale; stale ones are dropped."""
        while ends:
            key = ends[0]
            transfer = self.live.get(key & ID_MASK)
            if transfer is not None and transfer.end_key == key:
                return key >> ORDER_BITS
            heappop(ends)
        return None


def _order(transfer: Transfer) -> int:
    return transfer.order


def _popped(asked: list[tuple[int, int, Transfer]], now_ns: int) -> list[Transfer]:
    """Remove the entries until now, and return those of live transfers."""
    due = []
    while asked and asked[0][0] <= now_ns:
        transfer = heappop(asked)[2]
        if transfer.is_live:
            due.append(transfer)
    return due


def _starved(live: Iterable[Transfer]) -> str:
    first = min(live, key=_order)
    who = first.message.client_id
    name = "the broadcast" if who is None else f"client {who}"
    return (
        f"the transfer of {name} never ends: its share of the band or its spectral "
        f"efficiency is zero (C/N0 {first.cn0_hz:.3g} Hz); widen the band, serve fewer "
        "clients at once, raise the transmit power or move the client closer; under a "
        "`minimum_snr` set an `outage_timeout`"
    )
