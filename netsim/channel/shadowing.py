"""Spatially correlated shadowing along clients' paths."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from netsim.core.streams import uniform

Place = tuple[float, float]


class ShadowedPaths:
    """One cell's shadowing along its clients' paths, in standard deviations.

    It is an autoregressive process with correlation ``exp(-d / d_corr)`` over a
    distance ``d`` (Gudmundson, "Correlation model for shadow fading in mobile radio
    systems", Electronics Letters 27(23), 1991). The distance is measured along the
    path, so a client that returns to a place has another shadow there. Each step's draw
    is keyed by client, cell and step, so the order of queries does not matter.
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
        """Return the shadow at a step, in standard deviations; ``place`` maps a step to
        its place."""
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
    """Return one standard normal draw by its key (Box and Muller, 1958)."""
    length = math.sqrt(-2 * math.log(uniform(seed, what, *ids, "length")))
    return length * math.cos(2 * math.pi * uniform(seed, what, *ids, "turn"))
