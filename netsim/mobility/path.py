"""The interface of mobility: the place of a client at a tick."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from netsim.scenario.plug_ins import Answer, Answers, is_number

Place: TypeAlias = tuple[float, float]  # x and y in metres


class Paths(Protocol):
    """The paths of all clients; a place is a pure function of client and tick."""

    def at(self, client_id: int, now_ns: int) -> Place:
        """Return a client's place at a tick, in metres."""


def _is_place(answer: Place, *_: object) -> bool:
    return len(answer) == 2 and all(map(is_number, answer))


PATHS: Answers = {"at": Answer("two finite numbers, x and y in metres", _is_place)}
ANSWERS: Answers = {
    "paths": Answer(
        "paths, whose `at` returns a place",
        lambda answer, *_: callable(answer.at),
        then=PATHS,
    ),
    "corners_m": Answer(
        "the corners of a region, each two finite numbers of metres",
        lambda answer: all(map(_is_place, answer)),
    ),
    "interval_s": Answer(
        "an interval of at least 1e-9 s, or None",
        lambda answer: answer is None or is_number(answer, 1e-9),
    ),
}


class Mobility(Protocol):
    """How clients move. Channels read the places at multiples of ``interval_s``; None
    means that no client moves."""

    @property
    def kind(self) -> str:
        """Return the name under which a scenario chooses it."""

    @property
    def interval_s(self) -> float | None:
        """Return the interval at which channels read the places, in seconds."""

    @property
    def corners_m(self) -> tuple[Place, ...]:
        """Return the corners of the region that clients move in, where it has any."""

    @property
    def has_places(self) -> bool:
        """Return whether it sets the places at time zero itself."""

    def paths(self, num_clients: int, starts: Sequence[Place], seed: int) -> Paths:
        """Return the paths of all clients; ``starts`` are their places at time zero,
        unless ``has_places``."""
