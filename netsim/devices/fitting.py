"""A device's speed from observed steps, and how far it errs on those left out.

Two laws are tried: one rate, ``t = FLOP / R``, and one with a fixed time, ``t = a +
FLOP / R``. The one whose predictions of left-out settings err less (root mean square of
the logarithm) is taken; with fewer than four settings it is one rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from netsim.devices.observations import Observation

LEAST = 4  # settings that two numbers are fitted to
COVERAGE = 0.8  # of the interval from t / doubt to t * doubt


class Law(NamedTuple):
    """The time of a step: ``fixed_s`` and the FLOP at a rate."""

    flop_per_s: float
    fixed_s: float = 0.0

    def step_s(self, flop: float) -> float:
        """Return the seconds of a step."""
        return self.fixed_s + flop / self.flop_per_s


class Fit(NamedTuple):
    """A law, and the factors by which it errs on each setting that was left out."""

    law: Law
    errors: tuple[float, ...]

    @property
    def doubt(self) -> float | None:
        """Return the factor that a new setting's error stays below at ``COVERAGE``;
        None where there are too few settings."""
        rank = math.ceil(COVERAGE * (len(self.errors) + 1))
        return sorted(self.errors)[rank - 1] if rank <= len(self.errors) else None


Points: TypeAlias = Sequence[tuple[float, float]]  # FLOP and seconds of a step


def fit(observations: Sequence[Observation]) -> Fit:
    """Return the fit to observations whose FLOP are known, one per setting."""
    points = [(one.flop, one.step_s) for one in observations if one.flop is not None]
    assert points
    laws = (one_rate, with_fixed_time) if len(points) >= LEAST else (one_rate,)
    law, errors = min(((law, left_out(points, law)) for law in laws), key=_spread)
    return Fit(law(points), errors)


def one_rate(points: Points) -> Law:
    """Return the geometric mean of the rates."""
    logs = [math.log(flop / seconds) for flop, seconds in points]
    return Law(math.exp(math.fsum(logs) / len(logs)))


def with_fixed_time(points: Points) -> Law:
    """Return the least squares of relative errors; one rate if that has no fixed time
    above zero."""
    inverse = [(1 / seconds, flop / seconds) for flop, seconds in points]
    uu, uv, vv = (
        math.fsum(one[i] * one[j] for one in inverse)
        for i, j in ((0, 0), (0, 1), (1, 1))
    )
    u, v = (math.fsum(one[i] for one in inverse) for i in (0, 1))
    det = uu * vv - uv * uv
    if not det > 1e-9 * uu * vv:
        return one_rate(points)
    fixed_s, per_flop = (u * vv - v * uv) / det, (v * uu - u * uv) / det
    if not (fixed_s > 0 and per_flop > 0):
        return one_rate(points)
    return Law(1 / per_flop, fixed_s)


def left_out(points: Points, law: Callable[[Points], Law]) -> tuple[float, ...]:
    """Return the factor of error on each point of the law fitted to the others."""
    if len(points) < 2:
        return ()
    found = []
    for index, (flop, seconds) in enumerate(points):
        others = [*points[:index], *points[index + 1 :]]
        ratio = law(others).step_s(flop) / seconds
        found.append(max(ratio, 1 / ratio))
    return tuple(found)


def _spread(fitted: tuple[object, tuple[float, ...]]) -> float:
    return math.fsum(math.log(error) ** 2 for error in fitted[1])
