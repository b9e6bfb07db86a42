"""Transport: what a message sends and waits for besides its own bits."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from netsim.band import Pace
from netsim.core.clock import to_ns
from netsim.core.quantities import Bits, Seconds
from netsim.scenario.record import Record


class Transport(Record):
    """Terms of a message that cost nothing unless they are named.

    A message travels in frames of at most ``payload``, each with a ``header``. Before a
    device's own message ``set_up_round_trips`` of ``round_trip`` pass, for TCP one and
    for TLS 1.3 over it two. Each attempt to send up waits ``grant_delay`` for the
    uplink's grant. Waiting uses no band.

    Each attempt sends at most ``initial_window`` in its first ``round_trip``, twice as
    much in each next one (slow start), and never more than ``window`` in one.
    """

    payload_bits: Annotated[Bits, Field(gt=0)] | None = None
    header_bits: Annotated[Bits, Field(ge=0)] = 0
    set_up_round_trips: int = Field(default=0, ge=0)
    round_trip_s: Annotated[Seconds, Field(ge=0)] = 0.0
    grant_delay_s: Annotated[Seconds, Field(ge=0)] = 0.0
    initial_window_bits: Annotated[Bits, Field(gt=0)] | None = None
    window_bits: Annotated[Bits, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _check_pairs(self) -> Transport:
        if (self.payload_bits is None) != (self.header_bits == 0):
            raise ValueError("needs `payload` and `header` together, or neither")
        windows = self.initial_window_bits, self.window_bits
        uses_round_trips = self.set_up_round_trips > 0 or windows != (None, None)
        if uses_round_trips != (self.round_trip_s > 0):
            raise ValueError(
                "needs `round_trip` together with `set_up_round_trips`,"
                " `initial_window` or `window`"
            )
        first_bits, most_bits = windows
        if first_bits is not None and most_bits is not None and first_bits > most_bits:
            raise ValueError("`initial_window` must be at most `window`")
        return self

    def air_bits(self, bits: int) -> int:
        """Return the bits of a message with the headers of its frames."""
        if self.payload_bits is None:
            return bits
        return bits + -(-bits // self.payload_bits) * self.header_bits

    @property
    def pace(self) -> Pace | None:
        """Return the window of an attempt in bits on the air, None without one."""
        first_bits, most_bits = self.initial_window_bits, self.window_bits
        if first_bits is None and most_bits is None:
            return None
        return Pace(
            self.air_bits(first_bits or most_bits or 0),
            to_ns(self.round_trip_s),
            None if most_bits is None else self.air_bits(most_bits),
        )

    def window_delay_s(self, bits: int, rate_bps: float) -> float:
        """Return how many seconds longer the window makes an attempt of ``bits`` on the
        air that is alone on a link of a rate."""
        pace = self.pace
        if pace is None:
            return 0.0
        left, now_ns, alone_s = float(bits), 0, bits / rate_bps
        while True:
            paced_bps = pace.window_bits(now_ns) * 1e9 / pace.round_trip_ns
            next_ns = pace.next_ns(now_ns)
            if paced_bps >= rate_bps or next_ns is None:
                break
            sent = paced_bps * (next_ns - now_ns) / 1e9
            if sent >= left:
                break
            left, now_ns = left - sent, next_ns
        return now_ns / 1e9 + left / min(rate_bps, paced_bps) - alone_s

    @property
    def delay_s(self) -> float:
        """Return the time before a message's first bit, in seconds."""
        return self.set_up_round_trips * self.round_trip_s + self.grant_delay_s

    @property
    def set_up_ns(self) -> int:
        """Return the ticks before a message's first attempt."""
        round_trips = self.set_up_round_trips
        return round_trips * to_ns(self.round_trip_s) if round_trips else 0

    @property
    def grant_ns(self) -> int:
        """Return the ticks before each attempt to send up."""
        return to_ns(self.grant_delay_s) if self.grant_delay_s else 0


NO_TRANSPORT = Transport()
