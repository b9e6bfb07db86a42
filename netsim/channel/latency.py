"""Latency: how long a message is under way after its last bit was sent."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Annotated, Literal, Protocol

from pydantic import Field

from netsim.core.clock import to_ns
from netsim.core.quantities import Seconds
from netsim.core.streams import uniform
from netsim.scenario.record import Record

_STANDARD_NORMAL = NormalDist()


class Jitter(Protocol):
    """What comes on top of a latency, drawn anew for every message: its quantile
    function in seconds, and its mean."""

    @property
    def mean_s(self) -> float: ...

    def delay_s(self, probability: float) -> float: ...


class ExponentialJitter(Record):
    """Exponential: mostly short, now and then several times the mean."""

    kind: Literal["exponential"] = "exponential"
    mean_s: Annotated[Seconds, Field(gt=0)]

    def delay_s(self, probability: float) -> float:
        return -self.mean_s * math.log1p(-probability)


class UniformJitter(Record):
    """Uniform from nothing to the longest."""

    kind: Literal["uniform"] = "uniform"
    longest_s: Annotated[Seconds, Field(gt=0)]

    @property
    def mean_s(self) -> float:
        return self.longest_s / 2

    def delay_s(self, probability: float) -> float:
        return self.longest_s * probability


class LogNormalJitter(Record):
    """Log-normal, ``sigma`` the standard deviation of its logarithm."""

    kind: Literal["log-normal"] = "log-normal"
    mean_s: Annotated[Seconds, Field(gt=0)]
    sigma: float = Field(gt=0, le=5)

    def delay_s(self, probability: float) -> float:
        z = _STANDARD_NORMAL.inv_cdf(probability)
        return self.mean_s * math.exp(self.sigma * z - self.sigma**2 / 2)


JITTERS = {
    "exponential": ExponentialJitter,
    "log-normal": LogNormalJitter,
    "uniform": UniformJitter,
}


def mean_latency_s(latency_s: float, jitter: Jitter | None) -> float:
    """Return the seconds that a message is under way in the mean, for plans."""
    return latency_s if jitter is None else latency_s + jitter.mean_s


def latency_ns(
    latency_s: float, jitter: Jitter | None, seed: int, *message: str | int
) -> int:
    """Return the ticks that the message so named is under way."""
    if jitter is None:
        return to_ns(latency_s) if latency_s else 0
    draw = uniform(seed, "latency", *message)
    return to_ns(latency_s + jitter.delay_s(draw))
