"""A message, the terms on which it is sent, and the state of its transfer."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import simpy

from netsim.channel.link import Channel
from netsim.channel.radio import Radio
from netsim.trace import rows
from netsim.trace.literals import Status

WORK_PER_BIT = 10**24  # micro-hertz x nano-bit/s/Hz x nanoseconds
ID_BITS = 40  # of a transfer's id within its order
ID_MASK = (1 << ID_BITS) - 1


class Terms(NamedTuple):
    """A share: ``weight`` times the unit share (elastic), or constant (pinned)."""

    weight: int = 1
    pinned_uhz: int | None = None


class Pace(NamedTuple):
    """At most ``first_bits`` in the first round trip, twice as many in each next one
    until ``most_bits``; without ``most_bits`` it doubles without end."""

    first_bits: int
    round_trip_ns: int
    most_bits: int | None = None

    def window_bits(self, age_ns: int) -> int:
        """Return the most bits per round trip at an age of the transfer."""
        window_bits = self.first_bits << min(age_ns // self.round_trip_ns, 64)
        return (
            window_bits if self.most_bits is None else min(window_bits, self.most_bits)
        )

    def next_ns(self, age_ns: int) -> int | None:
        """Return the age at which the window grows next, None if it does no more."""
        if self.most_bits is not None and self.window_bits(age_ns) >= self.most_bits:
            return None
        return (age_ns // self.round_trip_ns + 1) * self.round_trip_ns

    def ceiling_uhz(
        self, age_ns: int, radio: Radio, cn0_hz: float, most_uhz: int
    ) -> int:
        """Return the share that sends a window per round trip, at most ``most_uhz``."""
        window_bits = self.window_bits(age_ns)
        if radio.depends_on_share:
            rate_bps = window_bits * 1e9 / self.round_trip_ns
            share_hz = radio.share_hz_for_rate(cn0_hz, rate_bps)
            return int(min(share_hz * 1e6, most_uhz))
        efficiency_nbit = radio.efficiency_nbit(cn0_hz, most_uhz)
        if not efficiency_nbit:
            return most_uhz  # an outage
        per_round_trip = efficiency_nbit * self.round_trip_ns
        return min(window_bits * WORK_PER_BIT // per_round_trip, most_uhz)


class Message(NamedTuple):
    """Bits to send; a broadcast has neither task nor client."""

    round_id: int
    bits: int
    task_id: int | None = None
    client_id: int | None = None


class Transfer:
    """The state of one live transfer; only its band writes to it."""

    __slots__ = (
        "airtime_ns",
        "at_end",
        "ceiling_uhz",
        "channel",
        "cn0_hz",
        "done",
        "efficiency_nbit",
        "end_key",
        "held_uhz_ns",
        "is_at_ceiling",
        "is_live",
        "is_ruled",
        "message",
        "order",
        "outage_since_ns",
        "pace",
        "pin_uhz",
        "pinned_uhz",
        "radio_uhz",
        "remaining",
        "since_elapsed",
        "since_ns",
        "since_passed",
        "since_virtual",
        "start_ns",
        "status",
        "terms",
        "transfer_id",
        "watched",
        "weight",
    )

    def __init__(
        self,
        transfer_id: int,
        message: Message,
        channel: Channel,
        done: simpy.Event,
        *,
        at_end: Callable[[Transfer], None] | None = None,
        ceiling_uhz: int | None = None,
        pace: Pace | None = None,
        ends_as: Status = "done",
    ) -> None:
        client_id = -1 if message.client_id is None else message.client_id
        self.transfer_id = transfer_id
        self.message = message
        self.channel = channel
        self.done = done
        self.at_end = at_end  # called in place of its event
        self.status = ends_as  # after its last bit, unless it is cut or given up
        self.ceiling_uhz = ceiling_uhz  # of its radio, or of its window at this tick
        self.radio_uhz = ceiling_uhz
        self.pace = pace
        self.terms: Terms | None = None  # the last that it was given
        self.watched = -1  # the number of its latest entry in the band's ceilings
        self.order = (client_id + 1) << ID_BITS | transfer_id  # a broadcast is first
        self.remaining = message.bits * WORK_PER_BIT
        self.weight = 0
        self.pinned_uhz: int | None = None  # by its terms
        self.pin_uhz: int | None = None  # by its terms or at its ceiling
        self.is_at_ceiling = False
        self.cn0_hz = 0.0
        self.efficiency_nbit = 0
        self.end_key = 0  # the entry of its end in the band's heap: others are stale
        self.is_live = False
        self.is_ruled = True  # the sharing rule sets its terms
        self.start_ns = self.since_ns = 0
        self.outage_since_ns: int | None = None  # the start of a zero efficiency
        self.airtime_ns = 0  # the time with a share; waiting for a share does not count
        self.held_uhz_ns = 0  # the integral of its share over its airtime
        self.since_elapsed = self.since_virtual = self.since_passed = 0

    def airtime_by(self, now_ns: int) -> int:
        """Return the airtime in ns, if the present terms hold until ``now_ns``."""
        has_share = self.pin_uhz or self.weight
        booked = self.airtime_ns
        return booked + now_ns - self.since_ns if self.is_live and has_share else booked

    def end(
        self, cell_id: int, direction: str, end_ns: int, status: Status
    ) -> rows.Transfer:
        """Trigger ``done`` or call ``at_end``, and return the row of the trace."""
        self.status = status
        if self.at_end is None:
            self.done.succeed(status)
        else:
            self.at_end(self)
        round_id, bits, task_id, client_id = self.message
        sent = (self.transfer_id, task_id, round_id, client_id, cell_id, direction)
        return tuple.__new__(
            rows.Transfer, (*sent, bits, self.start_ns, end_ns, status)
        )
