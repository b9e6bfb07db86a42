"""The ends of a band's transfers, ahead of the clock: all starts are known, and neither
terms nor channels change.

The arithmetic is that of :mod:`netsim.band.fluid` without what only a change needs: an
event touches the transfers that start or end at it. Elastic transfers of one weight and
one ceiling have one share, so that all are at their ceiling or none is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple

from netsim.band.transfer import WORK_PER_BIT, Message, Terms
from netsim.channel.link import Channel
from netsim.core.clock import MAX_NS


class Start(NamedTuple):
    """A transfer to come, from a client."""

    start_ns: int
    message: Message
    channel: Channel
    terms: Terms


# plain tuples: there is one of each for a transfer
End = tuple[int, int, int]  # the place of a start, its end, the integral of its share
Interval = tuple[int, int, int, bool]  # a place, from, until, whether at its ceiling
Division = tuple[int, int, int, int, int]  # from, until, unit, transfers, allocated


def have_one_share(
    band_uhz: int, starts: Sequence[Start], ceiling_uhz: int | None
) -> bool:
    """Return whether either all transfers are at the ceiling or none, however many are
    live: without a ceiling, and with equal weights except where a band differs from a
    number of ceilings by the micro-hertz of rounding alone."""
    if ceiling_uhz is None:
        return True
    num_wide, rest_uhz = divmod(band_uhz, ceiling_uhz)
    is_rounded = 0 < rest_uhz < num_wide or ceiling_uhz <= len(starts)
    return not is_rounded and all(start.terms == Terms() for start in starts)


# an entry of a heap is one number: virtual or real end, client, place
PLACE_BITS = 40
ORDER_BITS = PLACE_BITS + 40
PLACE_MASK, ORDER_MASK = (1 << PLACE_BITS) - 1, (1 << ORDER_BITS) - 1


@dataclass(slots=True)
class Ahead:
    """What happens on a band that is idle before; :meth:`play` computes it."""

    band_uhz: int
    starts: Sequence[Start]  # in order of time
    efficiencies_nbit: Sequence[int]  # of the starts, constant
    ceiling_uhz: int | None = None  # of all elastic transfers, which have weight 1
    ends: list[End] = field(default_factory=list)  # in order of time, then of clients
    intervals: list[Interval] = field(default_factory=list)
    divisions: list[Division] = field(default_factory=list)
    _now_ns: int = 0
    _virtual: int = 0
    _share_uhz: int = 0  # of an elastic transfer of weight 1
    _weight_sum: int = 0
    _pinned_sum_uhz: int = 0
    _is_at_ceiling: bool = False  # each elastic transfer
    _since_ns: dict[int, int] = field(default_factory=dict)  # by place, of live ones
    _starts: dict[int, int] = field(default_factory=dict)  # virtual or real, by place
    _virtual_ends: list[int] = field(default_factory=list)
    _real_ends: list[int] = field(default_factory=list)

    def play(self) -> bool:
        """Play all starts and ends; return False where one transfer would never end or
        the shares exceed the band."""
        ticks_ns = [start.start_ns for start in self.starts]
        num_started, num_starts, division = 0, len(ticks_ns), (0, 0, 0)
        since_ns = self._now_ns = ticks_ns[0]
        ticks_ns.append(MAX_NS + 1)
        while len(self.ends) < num_starts:
            next_ns = self._next_ns(ticks_ns[num_started])
            if next_ns > MAX_NS:
                return False
            self._virtual += self._share_uhz * (next_ns - self._now_ns)
            self._now_ns = next_ns
            self._end_due()
            num_before = num_started
            while ticks_ns[num_started] == next_ns:
                if not self._start(num_started):
                    return False
                num_started += 1
            unit = self._divide(num_before)
            if unit is None:
                return False
            allocated_uhz = self._share_uhz * self._weight_sum + self._pinned_sum_uhz
            now = (unit, num_started - len(self.ends), allocated_uhz)
            if now != division:
                if division[1] and next_ns > since_ns:
                    self.divisions.append((since_ns, next_ns, *division))
                since_ns, division = next_ns, now
        return True

    def _next_ns(self, next_ns: int) -> int:
        """Return the tick of the next end, ``next_ns`` at the latest."""
        if self._virtual_ends:
            virtual_end = self._virtual_ends[0] >> ORDER_BITS
            until = (self._virtual - virtual_end) // self._share_uhz
            if self._now_ns - until < next_ns:
                next_ns = self._now_ns - until
        if self._real_ends:
            next_ns = min(next_ns, self._real_ends[0] >> ORDER_BITS)
        return next_ns

    def _end_due(self) -> None:
        now_ns, virtual = self._now_ns, self._virtual
        due = _due(self._virtual_ends, virtual)
        if self._real_ends:
            due += _due(self._real_ends, now_ns)
        if len(due) > 1:
            due.sort()
        for order in due:
            place = order & PLACE_MASK
            weight, pin_uhz = self.starts[place].terms
            if pin_uhz is None:
                self._weight_sum -= weight
                held_uhz_ns = weight * (virtual - self._starts.pop(place))
            else:
                self._pinned_sum_uhz -= pin_uhz
                held_uhz_ns = pin_uhz * (now_ns - self._starts.pop(place))
            self.ends.append((place, now_ns, held_uhz_ns))
            self._end_interval(place, self._since_ns.pop(place))

    def _end_interval(self, place: int, since_ns: int) -> None:
        if since_ns < self._now_ns:
            interval = (place, since_ns, self._now_ns, self._is_at_ceiling)
            self.intervals.append(interval)

    def _start(self, place: int) -> bool:
        """Start a transfer now, and return whether it ends."""
        now_ns, virtual = self._now_ns, self._virtual
        _, message, _, (weight, pin_uhz) = self.starts[place]
        speed = self.efficiencies_nbit[place] * (weight if pin_uhz is None else pin_uhz)
        if not speed or not message.bits:
            return False
        need = -(-message.bits * WORK_PER_BIT // speed)
        order = (message.client_id or 0) << PLACE_BITS | place
        self._since_ns[place] = now_ns
        if pin_uhz is None:
            self._weight_sum += weight
            self._starts[place] = virtual
            heappush(self._virtual_ends, (virtual + need) << ORDER_BITS | order)
        else:
            self._pinned_sum_uhz += pin_uhz
            self._starts[place] = now_ns
            heappush(self._real_ends, (now_ns + need) << ORDER_BITS | order)
        return True

    def _divide(self, num_before: int) -> int | None:
        """Divide the band, of which ``num_before`` had started before this tick, and
        return the unit share; None where it does not suffice."""
        spare_uhz, weights = self.band_uhz - self._pinned_sum_uhz, self._weight_sum
        unit = spare_uhz // weights if weights else 0
        if spare_uhz < 0 or (weights and not unit):
            return None
        ceiling_uhz = self.ceiling_uhz
        if ceiling_uhz is None:
            self._share_uhz = unit
            return unit
        is_at_ceiling = unit > ceiling_uhz
        if is_at_ceiling != self._is_at_ceiling:
            self._switch(num_before)
            self._is_at_ceiling = is_at_ceiling
        self._share_uhz = min(unit, ceiling_uhz)
        return 0 if is_at_ceiling else unit

    def _switch(self, num_before: int) -> None:
        """End the intervals of all live transfers: they are at their ceiling from now
        on, or no longer. The latter come after those that start now, as in
        :class:`netsim.band.ceilings.Ceilings`."""
        before = {n: since for n, since in self._since_ns.items() if n < num_before}
        for place, since_ns in before.items():
            self._end_interval(place, since_ns)
        live = list(before)
        new = [place for place in self._since_ns if place >= num_before]
        order = [*new, *live] if self._is_at_ceiling else [*live, *new]
        self._since_ns = dict.fromkeys(order, self._now_ns)


def _due(ends: list[int], limit: int) -> list[int]:
    """Remove the entries up to a limit, and return their clients and places."""
    found, beyond = [], (limit + 1) << ORDER_BITS
    while ends and ends[0] < beyond:
        found.append(heappop(ends) & ORDER_MASK)
    return found
