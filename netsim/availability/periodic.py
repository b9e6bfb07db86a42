"""Availability in intervals of fixed length."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from netsim.availability.presence import Interval
from netsim.core.clock import to_ns
from netsim.core.quantities import Seconds
from netsim.core.streams import uniform
from netsim.scenario.record import Record
from netsim.scenario.traits import Traits

Span = Annotated[Seconds, Field(ge=1e-3)]  # shorter ones cost too many events


class Periodic(Record):
    """A client is available for ``on``, away for ``off``, in turn. A run begins
    ``phase`` into the cycle; the default is a random phase per client."""

    traits: ClassVar[Traits] = {"comes-and-goes": ""}
    kind: Literal["periodic"] = "periodic"
    on_s: Span
    off_s: Span
    phase_s: Annotated[Seconds, Field(ge=0)] | None = None

    def intervals(self, seed: int, client_id: int, since_ns: int) -> Iterator[Interval]:
        on_ns = to_ns(self.on_s)
        cycle_ns = on_ns + to_ns(self.off_s)
        if self.phase_s is None:
            phase_ns = int(uniform(seed, "availability", client_id) * cycle_ns)
        else:
            phase_ns = to_ns(self.phase_s)
        for number in itertools.count((since_ns + phase_ns) // cycle_ns):
            start_ns = number * cycle_ns - phase_ns
            yield start_ns, start_ns + on_ns

    def share(self, client_id: int) -> float:
        return self.on_s / (self.on_s + self.off_s)
