"""Link budget: from transmit power and losses to carrier-to-noise density."""

from __future__ import annotations

import math

# k T at 290 K is -173.975 dBm/Hz; link budgets round it (TR 38.901, ITU-R P.372).
THERMAL_NOISE_DBM_PER_HZ = -174.0


def db_to_linear(ratio_db: float) -> float:
    """Return a power ratio given in dB as a plain ratio."""
    return float(10.0 ** (ratio_db / 10))


def linear_to_db(ratio: float) -> float:
    """Return a power ratio in dB; a ratio of zero is minus infinity."""
    return 10 * math.log10(ratio) if ratio else -math.inf


def dbm_to_w(power_dbm: float) -> float:
    """Return a power given in dBm in watts."""
    return db_to_linear(power_dbm - 30)


def noise_dbm(
    band_hz: float,
    noise_figure_db: float = 0.0,
    density_dbm_per_hz: float = THERMAL_NOISE_DBM_PER_HZ,
) -> float:
    """Return the receiver's noise power over a band in dBm."""
    return density_dbm_per_hz + noise_figure_db + linear_to_db(band_hz)


def mean_cn0_hz(
    *,
    transmit_power_dbm: float,
    antenna_gain_dbi: float,
    loss_db: float,
    noise_figure_db: float,
    density_dbm_per_hz: float = THERMAL_NOISE_DBM_PER_HZ,
) -> float:
    """Return ``P g / (N0 * noise figure)`` in Hz, fading apart: the band over which
    the SNR would be one. ``antenna_gain_dbi`` is that of both ends together,
    ``loss_db`` path loss and shadowing together."""
    received_dbm = transmit_power_dbm + antenna_gain_dbi - loss_db
    return db_to_linear(
        received_dbm - noise_dbm(1.0, noise_figure_db, density_dbm_per_hz)
    )
