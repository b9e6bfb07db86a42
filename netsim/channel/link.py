"""Channels: the carrier-to-noise density of a transfer over time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from netsim.channel.fading import Fading


class Channel(Protocol):
    """Returns C/N0 in Hz at a tick, and the next tick at which it may change (None for
    never)."""

    def at(self, now_ns: int) -> tuple[float, int | None]: ...


class Link(NamedTuple):
    """One client's channel in one direction; ``direction`` keys the fading draws."""

    mean_cn0_hz: float
    fading: Fading
    seed: int
    direction: str
    client_id: int

    def at(self, now_ns: int) -> tuple[float, int | None]:
        gain, change_ns = self.fading.gain(
            self.seed, self.direction, self.client_id, now_ns
        )
        return self.mean_cn0_hz * gain, change_ns


@dataclass(frozen=True, slots=True)
class MovingLink:
    """One moving client's channel in one direction; ``mean_until`` returns the mean
    C/N0 at a tick, and the next tick at which that may change."""

    mean_until: Callable[[int], tuple[float, int]]
    fading: Fading
    seed: int
    direction: str
    client_id: int

    def at(self, now_ns: int) -> tuple[float, int | None]:
        mean_hz, moved_ns = self.mean_until(now_ns)
        gain, change_ns = self.fading.gain(
            self.seed, self.direction, self.client_id, now_ns
        )
        next_ns = moved_ns if change_ns is None else min(moved_ns, change_ns)
        return mean_hz * gain, next_ns


@dataclass(frozen=True, slots=True)
class WorstLink:
    """The channel of a broadcast: the weakest receiver's channel sets the rate."""

    links: tuple[Channel, ...]

    def __post_init__(self) -> None:
        assert self.links, "a broadcast needs a receiver"

    def at(self, now_ns: int) -> tuple[float, int | None]:
        states = [link.at(now_ns) for link in self.links]
        changes_ns = [change_ns for _, change_ns in states if change_ns is not None]
        return min(cn0_hz for cn0_hz, _ in states), min(changes_ns, default=None)
