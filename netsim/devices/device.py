"""Devices: compute times, and the energy of computing, waiting and sending."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import NormalDist
from typing import Annotated, Literal, Protocol, TypeAlias, get_args

from pydantic import Field

from fl.contract import Work
from netsim.channel.budget import dbm_to_w
from netsim.core.clock import NS_PER_S
from netsim.core.quantities import (
    Bytes,
    BytesPerSecond,
    FlopPerSecond,
    Seconds,
    Watts,
)
from netsim.core.streams import uniform_named
from netsim.scenario.plug_ins import Answer, Answers, is_number
from netsim.scenario.record import Record

_STANDARD_NORMAL = NormalDist()
Basis: TypeAlias = Literal["measured", "fitted", "assumed"]
PowerBasis: TypeAlias = Literal["measured", "assumed", "not known"]
POWER_BASES: tuple[PowerBasis, ...] = get_args(PowerBasis)  # the most certain first
Bandwidth = Annotated[BytesPerSecond, Field(gt=0)]


class Device(Record):
    """A kind of device.

    Training takes ``fixed_time`` for each step, ``launch_time`` for each operation and
    ``block_time`` for each block of 32 rows of attention in 16-bit numbers; besides,
    matrix products run at ``efficiency`` times the peak, those that give 16-bit numbers
    at ``half_rate`` if it is given, and the bytes that products and all other
    operations read and write, and those of results above 32 MiB once more, pass at the
    three bandwidths, without one in no time.
    ``compute_power`` and ``idle_power`` are those of the whole device while it trains
    and while it waits. While it sends, the radio's power is added: transmit power
    divided by ``transmit_efficiency``. Four in five of its times lie within a factor
    ``doubt`` of those of other settings of its ``software``.
    """

    name: str = Field(min_length=1)
    peak_flop_per_s: Annotated[FlopPerSecond, Field(gt=0)]
    efficiency: float = Field(gt=0, le=1)
    memory_bytes: Annotated[Bytes, Field(gt=0)]
    compute_power_w: Annotated[Watts, Field(ge=0)]
    idle_power_w: Annotated[Watts, Field(ge=0)]
    transmit_efficiency: float = Field(default=0.35, gt=0, le=1)
    fixed_time_s: Annotated[Seconds, Field(ge=0)] = 0.0
    launch_time_s: Annotated[Seconds, Field(ge=0)] = 0.0
    block_time_s: Annotated[Seconds, Field(ge=0)] = 0.0
    half_rate_flop_per_s: Annotated[FlopPerSecond, Field(gt=0)] | None = None
    product_bandwidth_bytes_per_s: Bandwidth | None = None
    other_bandwidth_bytes_per_s: Bandwidth | None = None
    large_bandwidth_bytes_per_s: Bandwidth | None = None
    software: str = ""  # the program that trains
    basis: Basis = "assumed"  # of its speed
    power_basis: PowerBasis = "assumed"  # of compute_power
    doubt: float | None = Field(default=None, ge=1)
    source: str = ""

    @property
    def certainty(self) -> str:
        """Return what its seconds rest on, for a person."""
        if self.doubt is None:
            return f"{self.basis}, error not stated"
        return f"{self.basis}, within a factor {self.doubt:.3g}"

    @property
    def flop_per_s(self) -> float:
        """Return the speed of training, in FLOP/s."""
        return self.peak_flop_per_s * self.efficiency

    def compute_time_s(self, work: Work) -> float:
        """Return the duration of local training, in seconds."""
        half_flop = 0 if self.half_rate_flop_per_s is None else work.half_flop
        seconds = (work.flop - half_flop) / self.flop_per_s
        if self.half_rate_flop_per_s is not None:
            seconds += half_flop / self.half_rate_flop_per_s
        seconds += work.steps * self.fixed_time_s + work.operations * self.launch_time_s
        seconds += work.blocks * self.block_time_s
        seconds += work.declared_ns / NS_PER_S
        if self.product_bandwidth_bytes_per_s is not None:
            seconds += work.product_bytes / self.product_bandwidth_bytes_per_s
        if self.other_bandwidth_bytes_per_s is not None:
            seconds += work.other_bytes / self.other_bandwidth_bytes_per_s
        if self.large_bandwidth_bytes_per_s is not None:
            seconds += work.large_bytes / self.large_bandwidth_bytes_per_s
        return seconds

    def compute_energy_j(self, duration_s: float) -> float:
        """Return the energy of computing for a duration, in joules."""
        return self.compute_power_w * duration_s

    def idle_energy_j(self, duration_s: float) -> float:
        """Return the energy of waiting for a duration, in joules."""
        return self.idle_power_w * duration_s

    def transmit_energy_j(self, transmit_power_dbm: float, duration_s: float) -> float:
        """Return the radio's energy of sending for a duration, in joules."""
        return dbm_to_w(transmit_power_dbm) / self.transmit_efficiency * duration_s


def least_certain(devices: Iterable[Device]) -> Device:
    """Return the device with the largest doubt, one that states none first."""
    return max(devices, key=lambda one: math.inf if one.doubt is None else one.doubt)


def least_certain_power(devices: Iterable[Device]) -> Device:
    """Return the device whose power while it trains rests on least."""
    return max(devices, key=lambda one: POWER_BASES.index(one.power_basis))


class Spread(Protocol):
    """A positive factor of mean one; ``factor`` is its quantile function."""

    def factor(self, probability: float) -> float: ...


ANSWERS: Answers = {
    "factor": Answer(
        "a finite factor above 0", lambda answer, _: is_number(answer, 1e-300)
    ),
}


class LogNormalSpread(Record):
    """``exp(sigma z - sigma^2 / 2)`` with ``z`` standard normal."""

    kind: Literal["log-normal"] = "log-normal"
    sigma: float = Field(ge=0, le=5)

    def factor(self, probability: float) -> float:
        return _log_normal(self.sigma, probability)


class ExponentialSpread(Record):
    """An exponential factor, ``tau ~ Exp(1)`` in many analyses: most devices are faster
    than the mean, a few several times slower."""

    kind: Literal["exponential"] = "exponential"

    def factor(self, probability: float) -> float:
        return -math.log1p(-probability)


SPREADS = {"exponential": ExponentialSpread, "log-normal": LogNormalSpread}


def spread_factor(seed: int, client_id: int, spread: Spread) -> float:
    """Return the factor on a client's compute times in the whole run."""
    return spread.factor(uniform_named(f"{seed}/device-spread/{client_id}"))


def jitter_factor(seed: int, client_id: int, round_id: int, sigma: float) -> float:
    """Return the factor on a client's compute time in one round: log-normal, mean one,
    ``sigma`` the standard deviation of its logarithm."""
    if not sigma:
        return 1.0
    draw = uniform_named(f"{seed}/compute-jitter/{client_id}/{round_id}")
    return _log_normal(sigma, draw)


def _log_normal(sigma: float, probability: float) -> float:
    return math.exp(sigma * _STANDARD_NORMAL.inv_cdf(probability) - sigma**2 / 2)
