"""Small-scale fading: a power gain of mean one, constant between changes."""

from __future__ import annotations

import functools
import math
from typing import Annotated, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from pydantic import Field

from netsim.channel.averaged import averaged_radio, mean_log1p
from netsim.channel.budget import db_to_linear
from netsim.channel.radio import ANSWERS as OF_RADIOS
from netsim.channel.radio import Radio
from netsim.core.clock import to_ns
from netsim.core.quantities import Decibel, Seconds
from netsim.core.streams import uniform_named
from netsim.scenario.plug_ins import (
    Answer,
    Answers,
    are_numbers,
    is_number,
    is_whole,
)
from netsim.scenario.record import Record

FloatArray = npt.NDArray[np.float64]
Gain = tuple[float, int | None]  # a power gain, and the tick of its next change


class Fading(Protocol):
    """Small-scale fading of one link.

    ``gain`` returns the power gain at a tick and the tick of its next change, None
    for never; it is a pure function of its arguments. ``effective_gain`` is the
    constant gain whose Shannon rate at an SNR equals the fading channel's mean rate,
    the rate at every gain being ``cap`` nats at most; a plan uses it in place of the
    fading. ``effective_gains`` is its array form. ``effective_radio`` is the radio that
    serves transfers: the given one, or its average over the gain where fading is
    faster than a transfer.
    """

    def gain(self, seed: int, direction: str, client_id: int, now_ns: int) -> Gain: ...

    def effective_gain(self, snr: float, cap: float = math.inf) -> float: ...

    def effective_gains(self, snr: FloatArray, cap: float = math.inf) -> FloatArray: ...

    def effective_radio(self, radio: Radio) -> Radio: ...


@runtime_checkable
class KnownFading(Protocol):
    """A fading whose distribution is known, as plans need for a radio with steps."""

    def probability_above(self, gains: FloatArray) -> FloatArray:
        """Return the probability that the power gain is at least each of these."""


def _is_gain(
    answer: Gain, seed: int, direction: str, client_id: int, now_ns: int
) -> bool:
    gain, change_ns = answer
    return is_number(gain, least=0.0) and (
        change_ns is None or (is_whole(change_ns) and change_ns > now_ns)
    )


def _is_radio(answer: Radio, given: Radio) -> bool:
    return is_number(answer.gap_db)


ANSWERS: Answers = {
    "gain": Answer(
        "a finite gain of at least 0, and the next tick, a whole number after now, or "
        "None for never",
        _is_gain,
    ),
    "effective_gain": Answer(
        "a finite gain of at least 0",
        lambda answer, snr, cap=math.inf: is_number(answer, least=0.0),
    ),
    "effective_gains": Answer(
        "a finite gain of at least 0 for every SNR",
        lambda answer, snr, cap=math.inf: are_numbers(answer, len(snr), least=0.0),
    ),
    "effective_radio": Answer("a radio", _is_radio, then=OF_RADIOS),
}


class NoFading(Record):
    """The gain is always one."""

    kind: Literal["none"] = "none"

    def gain(self, seed: int, direction: str, client_id: int, now_ns: int) -> Gain:
        return 1.0, None

    def effective_gain(self, snr: float, cap: float = math.inf) -> float:
        return 1.0

    def effective_gains(self, snr: FloatArray, cap: float = math.inf) -> FloatArray:
        return np.ones_like(snr)

    def probability_above(self, gains: FloatArray) -> FloatArray:
        return np.where(gains <= 1.0, 1.0, 0.0)

    def effective_radio(self, radio: Radio) -> Radio:
        return radio


class RayleighBlock(Record):
    """Rayleigh block fading: one Exp(1) power gain per block of one coherence time;
    blocks start at multiples of it for all clients."""

    kind: Literal["rayleigh"] = "rayleigh"
    coherence_time_s: Annotated[Seconds, Field(ge=1e-6)]

    def gain(self, seed: int, direction: str, client_id: int, now_ns: int) -> Gain:
        coherence_ns = _ticks(self.coherence_time_s)
        block = now_ns // coherence_ns
        draw = uniform_named(f"{seed}/fading/{direction}/{client_id}/{block}")
        return -math.log(draw), (block + 1) * coherence_ns

    def effective_gain(self, snr: float, cap: float = math.inf) -> float:
        """``E[min(ln(1 + g snr), cap)]`` by the midpoints of equally likely intervals
        of g."""
        rates = [min(math.log1p(gain * snr), cap) for gain in _EXPONENTIAL_MIDPOINTS]
        return math.expm1(math.fsum(rates) / len(rates)) / snr

    def effective_gains(self, snr: FloatArray, cap: float = math.inf) -> FloatArray:
        rates = np.zeros_like(snr)
        for gain in _EXPONENTIAL_MIDPOINTS:
            rates += np.minimum(np.log1p(gain * snr), cap)
        return np.asarray(np.expm1(rates / len(_EXPONENTIAL_MIDPOINTS)) / snr)

    def probability_above(self, gains: FloatArray) -> FloatArray:
        return np.asarray(np.exp(-gains))

    def effective_radio(self, radio: Radio) -> Radio:
        return radio


class RicianBlock(Record):
    """Rician block fading: one power gain per block of one coherence time. The
    line-of-sight path has ``k_factor`` times the power of all scattered paths together;
    with the same seed these are the paths of Rayleigh fading."""

    kind: Literal["rician"] = "rician"
    coherence_time_s: Annotated[Seconds, Field(ge=1e-6)]
    k_factor_db: Annotated[Decibel, Field(ge=-100, le=100)]

    def gain(self, seed: int, direction: str, client_id: int, now_ns: int) -> Gain:
        """``|sqrt(K) + sqrt(r) e^(2 pi i u)|^2 / (K + 1)`` with ``r`` from Exp(1)."""
        coherence_ns = _ticks(self.coherence_time_s)
        block = now_ns // coherence_ns
        link = f"{direction}/{client_id}/{block}"
        scattered = -math.log(uniform_named(f"{seed}/fading/{link}"))
        turn = uniform_named(f"{seed}/fading-phase/{link}")
        sight = self._sight
        cross = 2 * math.sqrt(sight * scattered) * math.cos(2 * math.pi * turn)
        return (sight + scattered + cross) / (sight + 1), (block + 1) * coherence_ns

    def effective_gain(self, snr: float, cap: float = math.inf) -> float:
        return float(self.effective_gains(np.array([snr]), cap)[0])

    def effective_gains(self, snr: FloatArray, cap: float = math.inf) -> FloatArray:
        """``E[ln(1 + g snr)]``: with ``1 + g snr = a + b cos(2 pi u)`` the mean over
        ``u`` is ``ln((a + sqrt(a^2 - b^2)) / 2)``; that over r by midpoints, less what
        the cap takes from equally likely intervals of g."""
        sight, rates = self._sight, np.zeros_like(snr)
        for scattered in _EXPONENTIAL_MIDPOINTS:
            a_less_1 = snr * (sight + scattered) / (sight + 1)
            b = snr * (2 * math.sqrt(sight * scattered) / (sight + 1))
            square = (1 + a_less_1 - b) * (1 + a_less_1 + b)
            root_less_1 = ((2 + a_less_1) * a_less_1 - b * b) / (1 + np.sqrt(square))
            rates += np.log1p((a_less_1 + root_less_1) / 2)
        rates /= len(_EXPONENTIAL_MIDPOINTS)
        gains = _rician_gains(self._sight)
        for gain in gains[np.log1p(gains * snr.max(initial=0.0)) > cap].tolist():
            rates -= np.maximum(np.log1p(gain * snr) - cap, 0.0) / len(gains)
        return np.asarray(np.expm1(np.minimum(rates, cap)) / snr)

    def probability_above(self, gains: FloatArray) -> FloatArray:
        """Interpolated between quantiles, within 0.0005."""
        quantiles = _rician_gains(self._sight)
        above = 1 - (np.arange(len(quantiles)) + 0.5) / len(quantiles)
        return np.interp(gains, quantiles, above, left=1.0, right=0.0)

    def effective_radio(self, radio: Radio) -> Radio:
        return radio

    @property
    def _sight(self) -> float:
        return db_to_linear(self.k_factor_db)


class RayleighFast(Record):
    """Rayleigh fading that is faster than any transfer: every transfer has the ergodic
    rate, ``E[log2(1 + SNR)]``."""

    kind: Literal["rayleigh-fast"] = "rayleigh-fast"

    def gain(self, seed: int, direction: str, client_id: int, now_ns: int) -> Gain:
        return 1.0, None

    def effective_gain(self, snr: float, cap: float = math.inf) -> float:
        return math.expm1(mean_log1p(snr, cap)) / snr if snr else 1.0

    def effective_gains(self, snr: FloatArray, cap: float = math.inf) -> FloatArray:
        return np.array([self.effective_gain(one, cap) for one in snr.tolist()])

    def probability_above(self, gains: FloatArray) -> FloatArray:
        return np.asarray(np.exp(-gains))

    def effective_radio(self, radio: Radio) -> Radio:
        return averaged_radio(radio) if radio.capacity() is None else radio


@functools.lru_cache(maxsize=16)
def _rician_gains(sight: float) -> FloatArray:
    """Return the mean gains of 1,024 equally likely intervals of a Rician gain."""
    scattered = np.array(_EXPONENTIAL_MIDPOINTS)[:, None]
    turns = (np.arange(256) + 0.5) / 512  # of half a circle: cosine is even
    cross = 2 * np.sqrt(sight * scattered) * np.cos(2 * np.pi * turns)
    gains = np.sort(((sight + scattered + cross) / (sight + 1)).ravel())
    return np.asarray(gains.reshape(1024, -1).mean(axis=1))


_EXPONENTIAL_MIDPOINTS = [-math.log((n + 0.5) / 256) for n in range(256)]
_ticks = functools.lru_cache(maxsize=64)(to_ns)  # exact fractions are slow

FADINGS = {
    "none": NoFading,
    "rayleigh": RayleighBlock,
    "rayleigh-fast": RayleighFast,
    "rician": RicianBlock,
}
