"""The backhaul between a base station and the server: a rate and a latency."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from netsim.core.clock import to_ns
from netsim.core.quantities import BitsPerSecond, Seconds
from netsim.scenario import Record


class Backhaul(Record):
    """One first-come-first-served link per direction: a message takes its bits divided
    by ``rate``, and then ``latency``."""

    rate_bps: Annotated[BitsPerSecond, Field(gt=0)]
    latency_s: Annotated[Seconds, Field(ge=0)] = 0.0


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
