"""The backhaul between a base station and the server: a rate and a latency."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from netsim.core.clock import to_ns
from netsim.core.quantities import BitsPerSecond, Seconds
from netsim.errors import InputError
from netsim.scenario import Record


class Backhaul(Record):
    """One first-come-first-served link per direction: a message takes its bits divided
    by ``rate``, and then ``latency``."""

    rate_bps: Annotated[BitsPerSecond, Field(gt=0)]
    latency_s: Annotated[Seconds, Field(ge=0)] = 0.0

    def require_usable(self, bits: int, longest_s: float) -> None:
        """Raise ``InputError`` if a message takes longer than ``longest_s``."""
        if bits > self.rate_bps * longest_s:
            raise InputError(
                f"backhaul.rate: {bits} bits would take over {longest_s / 86400:.0f} "
                f"days at {self.rate_bps:g} bit/s"
            )


class Wire:
    """One direction of a backhaul; a message that has entered is not withdrawn."""

    def __init__(self, config: Backhaul) -> None:
        self._rate_bps = config.rate_bps
        self.latency_ns = to_ns(config.latency_s)
        self._free_from_ns = 0

    def enter(self, now_ns: int, bits: int) -> int:
        """Return the tick of arrival of a message that enters now."""
        start_ns = max(now_ns, self._free_from_ns)
        self._free_from_ns = start_ns + to_ns(bits / self._rate_bps)
        return self._free_from_ns + self.latency_ns
