"""Whether a client is available at a tick, evaluated on demand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from netsim.core.clock import MAX_NS
from netsim.errors import InputError
from netsim.scenario.plug_ins import Answer, Answers, is_number, is_whole
from netsim.scenario.traits import Declaring

MAX_PASSED = 1_000_000  # intervals between two looks at a client
Interval = tuple[int, int]  # available from the first tick, away from the second


ANSWERS: Answers = {
    "intervals": Answer(
        "pairs of whole ticks in order: there from the first, away from the second",
        lambda now, last: (
            is_whole(now[0], 0 if last is None else last[1])
            and is_whole(now[1], now[0] + 1)
            and len(now) == 2
        ),
        "each",
        unless="always-there",
    ),
    "share": Answer(
        "a fraction above 0, at most 1", lambda answer, _: is_number(answer, 1e-12, 1)
    ),
}


class Availability(Declaring, Protocol):
    """When clients are available; each client has its own random draws."""

    def intervals(self, seed: int, client_id: int, since_ns: int) -> Iterator[Interval]:
        """Yield in order the client's intervals that end after ``since_ns``; earlier
        ones may precede them. An interval without end ends at ``MAX_NS``."""

    def share(self, client_id: int) -> float:
        """Return the long-run fraction of time that a client is available."""


class Presence:
    """Evaluates availability at increasing ticks; only queried clients cost time."""

    def __init__(self, availability: Availability, seed: int) -> None:
        self._availability = availability
        self._seed = seed
        self._known: dict[int, tuple[Interval, Iterator[Interval]]] = {}

    def at(self, client_id: int, tick_ns: int) -> tuple[bool, int]:
        """Return whether a client is available and the tick until which that holds at
        least; ``MAX_NS`` means to the end."""
        if client_id in self._known:
            interval, later = self._known[client_id]
        else:
            interval = (-1, -1)
            later = self._availability.intervals(self._seed, client_id, tick_ns)
        for _ in range(MAX_PASSED):
            if interval[1] > tick_ns or interval[0] >= MAX_NS:
                break
            interval = next(later, (MAX_NS, MAX_NS))
        else:
            raise InputError(
                f"population.availability: client {client_id} comes and goes more than "
                f"{MAX_PASSED:,} times before it is looked at again, at {tick_ns} ns; "
                "lengthen its intervals, or shorten what takes so long"
            )
        self._known[client_id] = interval, later
        start_ns, end_ns = interval
        return (True, end_ns) if start_ns <= tick_ns else (False, start_ns)
