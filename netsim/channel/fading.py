"""Small-scale fading: a power gain with mean one, constant for a while."""

from __future__ import annotations

import functools
import math
from typing import Annotated, Literal, Protocol

from pydantic import Field

from netsim.clock import to_ns
from netsim.quantities import Seconds
from netsim.scenario.record import Record
from netsim.streams import uniform

_EULER_GAMMA = 0.5772156649015329


class Fading(Protocol):
    """Answers the power gain at a tick and the next tick at which it changes, ``None``
    for never. A gain depends on its arguments alone, whenever and in whatever order it
    is asked for.

    ``effective_gain`` stands for the fading in plans: ``exp(E[ln gain])``.
    """

    def gain(
        self, seed: int, direction: str, client_id: int, now_ns: int
    ) -> tuple[float, int | None]: ...

    @property
    def effective_gain(self) -> float: ...


class NoFading(Record):
    """The gain is one for ever."""

    kind: Literal["none"] = "none"

    def gain(
        self, seed: int, direction: str, client_id: int, now_ns: int
    ) -> tuple[float, int | None]:
        return 1.0, None

    @property
    def effective_gain(self) -> float:
        return 1.0


class RayleighBlock(Record):
    """Rayleigh block fading: an Exp(1) power gain, drawn anew for every block of one
    coherence time; blocks start at multiples of it for all clients."""

    kind: Literal["rayleigh"] = "rayleigh"
    coherence_time_s: Annotated[Seconds, Field(gt=0)]

    def gain(
        self, seed: int, direction: str, client_id: int, now_ns: int
    ) -> tuple[float, int | None]:
        coherence_ns = _ticks(self.coherence_time_s)
        block = now_ns // coherence_ns
        draw = uniform(seed, "fading", direction, client_id, block)
        return -math.log(draw), (block + 1) * coherence_ns

    @property
    def effective_gain(self) -> float:
        """``exp(-gamma)`` = 0.561. As ``ln(1 + s e^x)`` is convex in ``x``, the rate at
        this gain never exceeds the long-run mean rate ``E[log2(1 + SNR g)]``: it is
        0.8 % below it at 20 dB, 6 % at 10 dB, 25 % at 0 dB."""
        return math.exp(-_EULER_GAMMA)


_ticks = functools.lru_cache(maxsize=64)(to_ns)  # exact, hence slow

FADINGS = {"none": NoFading, "rayleigh": RayleighBlock}
