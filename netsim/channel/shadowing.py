"""Shadowing along a way: alike at places near each other."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from netsim.core.streams import uniform

Place = tuple[float, float]


class ShadowedPaths:
    """One cell's shadowing along its clients' ways, in standard deviations.

    From step to step it is an autoregression whose correlation over a distance ``d`` is
    ``exp(-d / d_corr)`` (Gudmundson, "Correlation model for shadow fading in mobile
    radio systems", Electronics Letters 27(23), 1991): distances along the way count,
    so that who comes back to a place does not find the same shadow. Each step has its
    own draw, named by client, cell and step, whoever asks for it in whatever order.
    """

    def __init__(
        self, first: Sequence[float], correlation_m: float, *, seed: int, cell_id: int
    ) -> None:
        self._first = first
        self._correlation_m = correlation_m
        self._seed = seed
        self._cell_id = cell_id
        self._last: dict[int, tuple[int, Place, float]] = {}

    def at(self, client_id: int, step: int, place: Callable[[int], Place]) -> float:
        """Return the shadow at a step; ``place`` answers where each step is."""
        last = self._last.get(client_id)
        if last is None or last[0] > step:
            last = 0, place(0), float(self._first[client_id])
        known, here, shadow = last
        while known < step:
            known += 1
            there = place(known)
            if there != here:
                shadow = self._next(client_id, known, math.dist(here, there), shadow)
            here = there
        self._last[client_id] = known, here, shadow
        return shadow

    def _next(
        self, client_id: int, step: int, distance_m: float, shadow: float
    ) -> float:
        alike = math.exp(-distance_m / self._correlation_m)
        new = _standard_normal(self._seed, "shadow", client_id, self._cell_id, step)
        return alike * shadow + math.sqrt(1 - alike * alike) * new


def _standard_normal(seed: int, what: str, *ids: int) -> float:
    """Return one draw with random access (Box and Muller, 1958)."""
    length = math.sqrt(-2 * math.log(uniform(seed, what, *ids, "length")))
    return length * math.cos(2 * math.pi * uniform(seed, what, *ids, "turn"))
