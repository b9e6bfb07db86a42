"""What is asked of mobility: where a client is at a tick."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

Place: TypeAlias = tuple[float, float]  # x and y in metres


class Paths(Protocol):
    """The ways of all clients, the same whenever and in whatever order one asks."""

    def at(self, client_id: int, now_ns: int) -> Place:
        """Return where a client is at a tick, in metres."""


class Mobility(Protocol):
    """How clients move. Channels look at places once per ``interval_s``, at multiples
    of it; without one nobody moves."""

    @property
    def kind(self) -> str:
        """Return the name under which a scenario chooses it."""

    @property
    def interval_s(self) -> float | None:
        """Return how often channels look at places, in seconds."""

    @property
    def corners_m(self) -> tuple[Place, ...]:
        """Return the corners of the region that clients move in, where it has any."""

    @property
    def has_places(self) -> bool:
        """Return whether it says itself where clients are at first."""

    def paths(self, num_clients: int, starts: Sequence[Place], seed: int) -> Paths:
        """Return everybody's way from their first places, if it does not say these."""
