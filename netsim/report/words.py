"""Numbers with units as text, and the unit of a whole time axis."""

from __future__ import annotations

import math
from dataclasses import dataclass

from netsim.core.quantities import format_duration_ns, format_quantity


@dataclass(frozen=True, slots=True)
class TimeUnit:
    """A unit of simulated time for one chart."""

    name: str
    size_ns: int

    @property
    def title(self) -> str:
        """Return the title of a time axis."""
        return f"simulated time ({self.name})"


UNITS = (
    TimeUnit("d", 86_400 * 10**9),
    TimeUnit("h", 3_600 * 10**9),
    TimeUnit("min", 60 * 10**9),
    TimeUnit("s", 10**9),
    TimeUnit("ms", 10**6),
)


def time_unit(duration_ns: float) -> TimeUnit:
    """Return the largest unit of which a duration has at least two; milliseconds at
    least."""
    return next((u for u in UNITS if duration_ns >= 2 * u.size_ns), UNITS[-1])


def duration(duration_s: float) -> str:
    """Return seconds as text with a unit."""
    if not math.isfinite(duration_s):
        return "unknown"
    return format_duration_ns(round(duration_s * 1e9))


def size(bits: float) -> str:
    """Return bits as text in bytes."""
    return format_quantity(bits, "bit", num_digits=3)


def joules(energy_j: float) -> str:
    """Return an energy as text with a unit."""
    if energy_j >= 3.6e6:
        return f"{energy_j / 3.6e6:.3g} kWh"
    return format_quantity(energy_j, "J", num_digits=3)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 client``, ``1,200 clients``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def metric_words(metric: str) -> str:
    """Return a metric's name as words."""
    return metric.replace("_", " ")
