"""Clients that do not move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from netsim.mobility.path import Paths, Place
from netsim.scenario.record import Record


class Still(Record):
    """Every client stays at its place."""

    kind: Literal["still"] = "still"
    interval_s: ClassVar[float | None] = None
    has_places: ClassVar[bool] = False
    corners_m: ClassVar[tuple[Place, ...]] = ()

    def paths(self, num_clients: int, starts: Sequence[Place], seed: int) -> Paths:
        return FixedPaths(starts)


class FixedPaths:
    """Paths that stay at their first place."""

    def __init__(self, starts: Sequence[Place]) -> None:
        self._starts = starts

    def at(self, client_id: int, now_ns: int) -> Place:
        return self._starts[client_id]
