"""Link budget: carrier-to-noise density from transmit power, gains and losses."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

BLOCK = 65_536  # values that are Python objects at a time

# k T at 290 K is -173.975 dBm/Hz; link budgets round it (TR 38.901, ITU-R P.372).
THERMAL_NOISE_DBM_PER_HZ = -174.0


def db_to_linear(ratio_db: float) -> float:
    """Return the linear power ratio of a level in dB."""
    return float(10.0 ** (ratio_db / 10))


def linear_to_db(ratio: float) -> float:
    """Return the level in dB of a power ratio; zero gives minus infinity."""
    return 10 * math.log10(ratio) if ratio else -math.inf


@functools.cache
def dbm_to_w(power_dbm: float) -> float:
    """Return the power in watts of a level in dBm."""
    return db_to_linear(power_dbm - 30)


@functools.lru_cache(maxsize=64)
def noise_dbm(
    band_hz: float,
    noise_figure_db: float = 0.0,
    density_dbm_per_hz: float = THERMAL_NOISE_DBM_PER_HZ,
) -> float:
    """Return the receiver's noise power over a band, in dBm."""
    return density_dbm_per_hz + noise_figure_db + linear_to_db(band_hz)


def mean_cn0_hz(
    *,
    transmit_power_dbm: float,
    antenna_gain_dbi: float,
    loss_db: float,
    noise_figure_db: float,
    density_dbm_per_hz: float = THERMAL_NOISE_DBM_PER_HZ,
) -> float:
    """Return C/N0 without fading, ``P g / (N0 * noise figure)`` in Hz: the bandwidth at
    which the SNR is one. ``antenna_gain_dbi`` is the sum of both ends, ``loss_db`` the
    sum of path loss and shadowing."""
    received_dbm = transmit_power_dbm + antenna_gain_dbi - loss_db
    return db_to_linear(
        received_dbm - noise_dbm(1.0, noise_figure_db, density_dbm_per_hz)
    )


def mean_cn0s_hz(
    *,
    transmit_power_dbm: float,
    antenna_gain_dbi: float,
    losses_db: FloatArray,
    noise_figure_db: float,
    density_dbm_per_hz: float = THERMAL_NOISE_DBM_PER_HZ,
) -> FloatArray:
    """Return :func:`mean_cn0_hz` at each of these losses, equal to the last digit."""
    noise_dbm_hz = noise_dbm(1.0, noise_figure_db, density_dbm_per_hz)
    levels_db = transmit_power_dbm + antenna_gain_dbi - losses_db - noise_dbm_hz
    return each(functools.partial(math.pow, 10.0), levels_db / 10)


def each(
    function: Callable[..., float], *values: npt.NDArray[np.generic]
) -> FloatArray:
    """Return a function of ``math`` at every value: numpy's may round otherwise."""
    found = np.empty(len(values[0]))
    for start in range(0, len(found), BLOCK):
        block = slice(start, start + BLOCK)
        some = map(function, *(one[block].tolist() for one in values))
        found[block] = np.fromiter(some, np.float64)
    return found
