"""Clients that are always available."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from netsim.availability.presence import Interval
from netsim.core.clock import MAX_NS
from netsim.scenario.record import Record
from netsim.scenario.traits import Traits


class Always(Record):
    """All clients are always available."""

    traits: ClassVar[Traits] = {"always-there": ""}
    kind: Literal["always"] = "always"

    def intervals(self, seed: int, client_id: int, since_ns: int) -> Iterator[Interval]:
        yield 0, MAX_NS

    def share(self, client_id: int) -> float:
        return 1.0
