"""Ergodic rates: rates averaged over fast Rayleigh fading."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from netsim.channel.budget import FloatArray, each
from netsim.channel.mcs_table import Stepped
from netsim.channel.per_hertz import PerHertzRates
from netsim.channel.radio import Radio
from netsim.channel.wrapped import WrappedRadio

MANY = 64  # values, from which on arrays are faster
_EULER_GAMMA = 0.5772156649015329
_LN2 = math.log(2)


def mean_log1p(snr: float, cap: float = math.inf) -> float:
    """Return ``E[min(ln(1 + g snr), cap)]`` in nats for an Exp(1) power gain ``g``.

    With ``G = (e^cap - 1) / snr`` it is the integral of ``snr e^-g / (1 + g snr)`` from
    0 to G: ``exp(1/snr) (E1(1/snr) - E1(1/snr + G))`` (without a cap: Alouini and
    Goldsmith, IEEE Trans. Veh. Technol. 48(4), 1999, eq. 34).
    """
    if snr < 1e-12:  # linear: E[g] = 1
        return snr
    start = 1 / snr
    longest = math.expm1(cap) / snr if cap < 700 else math.inf
    if longest > 700:  # exp(-longest) underflows
        return scaled_e1(start)
    return scaled_e1(start) - math.exp(-longest) * scaled_e1(start + longest)


def scaled_e1(x: float) -> float:
    """Return ``exp(x) E1(x)`` for ``x > 0``: its power series up to one, beyond that
    its continued fraction (Abramowitz and Stegun 5.1.11; the even part of 5.1.22)."""
    if x <= 1:
        total, term = -_EULER_GAMMA - math.log(x), 1.0
        for k in range(1, 20):
            term *= -x / k
            total -= term / k
        return math.exp(x) * total
    tail = 0.0
    for k in range(80, 0, -1):
        tail = k * k / (x + 2 * k + 1 - tail)
    return 1 / (x + 1 - tail)


def mean_log1ps(snrs: FloatArray, cap: float) -> FloatArray:
    """Return :func:`mean_log1p` at each of these SNRs, equal to the last bit."""
    starts = 1 / np.maximum(snrs, 1e-12)
    found = scaled_e1s(starts)
    if cap < 700:
        longest = math.expm1(cap) / np.maximum(snrs, 1e-12)
        is_capped = longest <= 700
        ends = longest[is_capped]
        cut = each(math.exp, -ends) * scaled_e1s(starts[is_capped] + ends)
        found[is_capped] -= cut
    return np.where(snrs < 1e-12, snrs, found)


def scaled_e1s(xs: FloatArray) -> FloatArray:
    """Return :func:`scaled_e1` at each of these values, equal to the last bit."""
    found, is_small = np.empty_like(xs), xs <= 1
    x = xs[is_small]
    totals, terms = -_EULER_GAMMA - each(math.log, x), np.ones_like(x)
    for k in range(1, 20):
        terms *= -x / k
        totals -= terms / k
    found[is_small] = each(math.exp, x) * totals
    x = xs[~is_small]
    tails = np.zeros_like(x)
    for k in range(80, 0, -1):
        tails = k * k / (x + 2 * k + 1 - tails)
    found[~is_small] = 1 / (x + 1 - tails)
    return found


@dataclass(frozen=True, slots=True)
class AveragedRadio(WrappedRadio):
    """A radio over Rayleigh fading that is faster than any transfer: its efficiency is
    the mean over the gain, capped at each gain by the radio's ceiling."""

    def efficiency_nbit(self, cn0_hz: float, share_uhz: int) -> int:
        return round(self._efficiency_bit_s_hz(cn0_hz, share_uhz / 1e6) * 1e9)

    def rate_bps(self, cn0_hz: float, share_hz: float) -> float:
        return share_hz * self._efficiency_bit_s_hz(cn0_hz, share_hz)

    def share_hz_for_rate(self, cn0_hz: float, rate_bps: float) -> float:
        """Bisect, starting at the share without fading, which is never wider."""
        low_hz = self.radio.share_hz_for_rate(cn0_hz, rate_bps)
        if not 0 < low_hz < math.inf:
            return low_hz
        high_hz = low_hz
        while self.rate_bps(cn0_hz, high_hz) < rate_bps:
            low_hz, high_hz = high_hz, 2 * high_hz
            if math.isinf(high_hz):
                return high_hz
        while low_hz < (middle_hz := (low_hz + high_hz) / 2) < high_hz:
            if self.rate_bps(cn0_hz, middle_hz) < rate_bps:
                low_hz = middle_hz
            else:
                high_hz = middle_hz
        return high_hz

    def capacity(self) -> None:
        return None

    def _efficiency_bit_s_hz(self, cn0_hz: float, share_hz: float) -> float:
        cap_bit_s_hz = self.max_efficiency_bit_s_hz
        if not cn0_hz:
            return 0.0
        if not share_hz and self.depends_on_share:  # the limit of narrower shares
            return cap_bit_s_hz
        gap: float = 10.0 ** (0.1 * self.gap_db)
        snr = self.radio.snr(cn0_hz, share_hz) / gap
        return mean_log1p(snr, cap_bit_s_hz * _LN2) / _LN2


@dataclass(frozen=True, slots=True)
class AveragedSteps(PerHertzRates, WrappedRadio):
    """A radio with steps over the same fading: the mean of its steps,
    ``sum of (e_k - e_(k-1)) exp(-threshold_k / snr)``."""

    stepped: Stepped

    def capacity(self) -> None:
        return None

    def _efficiency_bit_s_hz(self, cn0_hz: float) -> float:
        if not cn0_hz:
            return 0.0
        snr = cn0_hz / self.stepped.reference_band_hz
        mean_bit_s_hz = below = 0.0
        for least_snr, efficiency_bit_s_hz in self.stepped.steps:
            is_reached = math.exp(-least_snr / snr)
            mean_bit_s_hz += (efficiency_bit_s_hz - below) * is_reached
            below = efficiency_bit_s_hz
        return mean_bit_s_hz


def averaged_radio(radio: Radio) -> AveragedRadio | AveragedSteps:
    """Return a radio over Rayleigh fading that is faster than any transfer."""
    if isinstance(radio, Stepped):
        return AveragedSteps(radio, radio)
    return AveragedRadio(radio)


def efficiencies_nbit(radio: Radio, cn0s_hz: Sequence[float]) -> list[int]:
    """Return the efficiencies of a radio for which they do not depend on the share, in
    1e-9 bit/s/Hz."""
    if len(cn0s_hz) < MANY or not isinstance(radio, AveragedRadio):
        return [radio.efficiency_nbit(cn0_hz, 1) for cn0_hz in cn0s_hz]
    gap: float = 10.0 ** (0.1 * radio.gap_db)
    snr, share_hz = radio.radio.snr, 1 / 1e6
    snrs = np.array([snr(cn0_hz, share_hz) for cn0_hz in cn0s_hz]) / gap
    means = mean_log1ps(snrs, radio.max_efficiency_bit_s_hz * _LN2) / _LN2
    found: list[int] = np.rint(means * 1e9).astype(np.int64).tolist()
    return found
