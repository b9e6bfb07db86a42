"""What a plan uses in place of a fading channel: a constant C/N0, and a radio for it.

The rate of the planned radio at the effective C/N0 is the mean rate of the channel. A
radio with a formula is its own planned radio. One with steps is planned without them,
since a mean of its steps lies between two of them.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from netsim.channel.budget import db_to_linear
from netsim.channel.fading import Fading, KnownFading
from netsim.channel.mcs_table import Stepped
from netsim.channel.radio import PerHertzRadio, Radio

FloatArray = npt.NDArray[np.float64]


def planned_radio(radio: Radio) -> Radio:
    """Return the radio whose rate at an effective C/N0 is the mean rate."""
    if isinstance(radio, Stepped):
        return _without_steps(radio.reference_band_hz, radio.steps[-1][1])
    return radio


def least_cn0_hz(radio: Radio) -> float:
    """Return the planned radio's C/N0, in Hz, at the lowest entry of a table; zero for
    a radio without one."""
    if isinstance(radio, Stepped):
        return radio.reference_band_hz * math.expm1(radio.steps[0][1] * math.log(2))
    return 0.0


def effective_cn0_hz(
    mean_hz: float, *, radio: Radio, band_hz: float, fading: Fading
) -> float:
    """Return the constant C/N0, in Hz, that a plan uses at a mean C/N0."""
    if isinstance(radio, Stepped):
        return float(_of_steps(np.array([mean_hz]), radio, fading)[0])
    snr = radio.snr(mean_hz, band_hz) / db_to_linear(radio.gap_db)
    return mean_hz * fading.effective_gain(snr, _cap_nat(radio))


def effective_cn0s_hz(
    means_hz: FloatArray, *, radio: Radio, band_hz: float, fading: Fading
) -> FloatArray:
    """Return :func:`effective_cn0_hz` of each mean."""
    if isinstance(radio, Stepped):
        return _of_steps(means_hz, radio, fading)
    per_hz = radio.snr(1.0, band_hz) / db_to_linear(radio.gap_db)
    return means_hz * fading.effective_gains(means_hz * per_hz, _cap_nat(radio))


def _of_steps(means_hz: FloatArray, radio: Stepped, fading: Fading) -> FloatArray:
    """``E[e(g snr)] = sum of (e_k - e_(k-1)) P(g > threshold_k / snr)``."""
    assert isinstance(fading, KnownFading), "a cell refuses steps under another fading"
    snrs = means_hz / radio.reference_band_hz
    mean_bit_s_hz, below = np.zeros_like(snrs), 0.0
    for least_snr, efficiency_bit_s_hz in radio.steps:
        is_reached = fading.probability_above(least_snr / snrs)
        mean_bit_s_hz += (efficiency_bit_s_hz - below) * is_reached
        below = efficiency_bit_s_hz
    return np.asarray(radio.reference_band_hz * np.expm1(mean_bit_s_hz * math.log(2)))


def _cap_nat(radio: Radio) -> float:
    """Return the radio's highest spectral efficiency in nats per symbol."""
    return radio.max_efficiency_bit_s_hz * math.log(2)


@lru_cache(maxsize=64)
def _without_steps(reference_band_hz: float, most_bit_s_hz: float) -> PerHertzRadio:
    return PerHertzRadio(
        reference_band_hz=reference_band_hz, max_efficiency_bit_s_hz=most_bit_s_hz
    )
