"""Who is there at a tick, found out client by client, for those who are asked after."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from netsim.core.clock import MAX_NS
from netsim.scenario.traits import Traits

Interval = tuple[int, int]  # there from the first tick on, away from the second on


class Availability(Protocol):
    """When clients are there, each by random draws of its own."""

    @property
    def kind(self) -> str:
        """Return the name under which a scenario chooses it."""

    @property
    def traits(self) -> Traits:
        """Return what it declares: whether clients may be away."""

    def intervals(self, seed: int, client_id: int, since_ns: int) -> Iterator[Interval]:
        """Yield, in order, when a client is there: the intervals that end after a
        tick, perhaps some before it; an endless one ends at ``MAX_NS``."""

    def share(self, client_id: int) -> float:
        """Return the part of the time that a client is there in the long run."""


class Presence:
    """Looks at clients at ticks that never go back; who is not asked after costs
    nothing."""

    def __init__(self, availability: Availability, seed: int) -> None:
        self._availability = availability
        self._seed = seed
        self._known: dict[int, tuple[Interval, Iterator[Interval]]] = {}

    def at(self, client_id: int, tick_ns: int) -> tuple[bool, int]:
        """Return whether a client is there, and until when at least that holds;
        ``MAX_NS`` is for good."""
        if client_id in self._known:
            interval, later = self._known[client_id]
        else:
            interval = (-1, -1)
            later = self._availability.intervals(self._seed, client_id, tick_ns)
        while interval[1] <= tick_ns and interval[0] < MAX_NS:
            interval = next(later, (MAX_NS, MAX_NS))
        self._known[client_id] = interval, later
        start_ns, end_ns = interval
        return (True, end_ns) if start_ns <= tick_ns else (False, start_ns)
