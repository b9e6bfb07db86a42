"""Latency: the delay between sending and arrival of a message's last bit."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Annotated, Literal, Protocol

from pydantic import Field, model_validator

from netsim.core.clock import to_ns
from netsim.core.quantities import MAX_S, Seconds
from netsim.core.streams import uniform
from netsim.scenario.plug_ins import Answer, Answers, is_number
from netsim.scenario.record import Record

_STANDARD_NORMAL = NormalDist()
_HIGHEST = math.nextafter(1.0, 0.0)  # of a draw


class Jitter(Protocol):
    """A random delay added to the latency of each message; ``delay_s`` is its quantile
    function, ``mean_s`` its mean."""

    @property
    def mean_s(self) -> float: ...

    def delay_s(self, probability: float) -> float: ...


ANSWERS: Answers = {
    "mean_s": Answer("a mean of at least 0 s", lambda answer: is_number(answer, 0)),
    "delay_s": Answer(
        "a finite delay of at least 0 s", lambda answer, *_: is_number(answer, 0)
    ),
}


class ExponentialJitter(Record):
    """An exponential delay."""

    kind: Literal["exponential"] = "exponential"
    mean_s: Annotated[Seconds, Field(gt=0)]

    @model_validator(mode="after")
    def _check_longest(self) -> ExponentialJitter:
        _require_clock(self.mean_s, self.delay_s(_HIGHEST))
        return self

    def delay_s(self, probability: float) -> float:
        return -self.mean_s * math.log1p(-probability)


class UniformJitter(Record):
    """A uniform delay from zero to ``longest``."""

    kind: Literal["uniform"] = "uniform"
    longest_s: Annotated[Seconds, Field(gt=0)]

    @property
    def mean_s(self) -> float:
        return self.longest_s / 2

    def delay_s(self, probability: float) -> float:
        return self.longest_s * probability


class LogNormalJitter(Record):
    """A log-normal delay; ``sigma`` is the standard deviation of its logarithm."""

    kind: Literal["log-normal"] = "log-normal"
    mean_s: Annotated[Seconds, Field(gt=0)]
    sigma: float = Field(gt=0, le=5)

    @model_validator(mode="after")
    def _check_longest(self) -> LogNormalJitter:
        _require_clock(self.mean_s, self.delay_s(_HIGHEST))
        return self

    def delay_s(self, probability: float) -> float:
        z = _STANDARD_NORMAL.inv_cdf(probability)
        return self.mean_s * math.exp(self.sigma * z - self.sigma**2 / 2)


def _require_clock(mean_s: float, longest_s: float) -> None:
    if longest_s > MAX_S:
        raise ValueError(
            f"mean must be so short that every draw is below {MAX_S:g} s, got a mean "
            f"of {mean_s:g} s, whose longest is {longest_s:.3g} s"
        )


JITTERS = {
    "exponential": ExponentialJitter,
    "log-normal": LogNormalJitter,
    "uniform": UniformJitter,
}


def mean_latency_s(latency_s: float, jitter: Jitter | None) -> float:
    """Return the mean latency of a message, in seconds."""
    return latency_s if jitter is None else latency_s + jitter.mean_s


def latency_ns(
    latency_s: float, jitter: Jitter | None, seed: int, *message: str | int
) -> int:
    """Return a message's latency in ticks; ``message`` is the key of its draw."""
    if jitter is None:
        return to_ns(latency_s) if latency_s else 0
    draw = uniform(seed, "latency", *message)
    return to_ns(latency_s + jitter.delay_s(draw))
