"""Small-scale fading: a power gain with mean one, constant for a while."""

from __future__ import annotations

import functools
import math
from typing import Annotated, Literal, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import Field

from netsim.clock import to_ns
from netsim.quantities import Seconds
from netsim.scenario.record import Record
from netsim.streams import uniform

FloatArray = npt.NDArray[np.float64]


class Fading(Protocol):
    """Answers the power gain at a tick and the next tick at which it changes, ``None``
    for never. A gain depends on its arguments alone, whenever and in whatever order it
    is asked for.

    ``effective_gain`` is the constant gain whose Shannon rate at an SNR equals the
    fading channel's mean rate: what stands for it in a plan; ``effective_gains`` is the
    same for many at once.
    """

    def gain(
        self, seed: int, direction: str, client_id: int, now_ns: int
    ) -> tuple[float, int | None]: ...

    def effective_gain(self, snr: float) -> float: ...

    def effective_gains(self, snr: FloatArray) -> FloatArray: ...


class NoFading(Record):
    """The gain is one for ever."""

    kind: Literal["none"] = "none"

    def gain(
        self, seed: int, direction: str, client_id: int, now_ns: int
    ) -> tuple[float, int | None]:
        return 1.0, None

    def effective_gain(self, snr: float) -> float:
        return 1.0

    def effective_gains(self, snr: FloatArray) -> FloatArray:
        return np.ones_like(snr)


class RayleighBlock(Record):
    """Rayleigh block fading: an Exp(1) power gain, drawn anew for every block of one
    coherence time; blocks start at multiples of it for all clients."""

    kind: Literal["rayleigh"] = "rayleigh"
    coherence_time_s: Annotated[Seconds, Field(ge=1e-6)]

    def gain(
        self, seed: int, direction: str, client_id: int, now_ns: int
    ) -> tuple[float, int | None]:
        coherence_ns = _ticks(self.coherence_time_s)
        block = now_ns // coherence_ns
        draw = uniform(seed, "fading", direction, client_id, block)
        return -math.log(draw), (block + 1) * coherence_ns

    def effective_gain(self, snr: float) -> float:
        """``E[ln(1 + g snr)]`` by the midpoints of equally likely intervals of g."""
        rates = [math.log1p(gain * snr) for gain in _EXPONENTIAL_MIDPOINTS]
        return math.expm1(math.fsum(rates) / len(rates)) / snr

    def effective_gains(self, snr: FloatArray) -> FloatArray:
        rates = np.zeros_like(snr)
        for gain in _EXPONENTIAL_MIDPOINTS:
            rates += np.log1p(gain * snr)
        return np.asarray(np.expm1(rates / len(_EXPONENTIAL_MIDPOINTS)) / snr)


_EXPONENTIAL_MIDPOINTS = [-math.log((n + 0.5) / 256) for n in range(256)]
_ticks = functools.lru_cache(maxsize=64)(to_ns)  # exact, hence slow

FADINGS = {"none": NoFading, "rayleigh": RayleighBlock}
