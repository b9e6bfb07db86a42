"""Clients that are always available."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from netsim.availability.presence import Interval
from netsim.core.clock import MAX_NS
from netsim.scenario.record import Record


class Always(Record):
    """All clients are always available."""

    kind: Literal["always"] = "always"

    def intervals(self, seed: int, client_id: int, since_ns: int) -> Iterator[Interval]:
        yield 0, MAX_NS

    def share(self, client_id: int) -> float:
        return 1.0
