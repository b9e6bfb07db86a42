"""Rates that are linear in the share of the band: one efficiency at every share."""

from __future__ import annotations

import math


class PerHertzRates:
    """The rates of a radio whose efficiency depends on C/N0 alone."""

    __slots__ = ()

    def efficiency_nbit(self, cn0_hz: float, share_uhz: int) -> int:
        """Return the efficiency in 1e-9 bit/s/Hz."""
        return round(self._efficiency_bit_s_hz(cn0_hz) * 1e9)

    def rate_bps(self, cn0_hz: float, share_hz: float) -> float:
        """Return the rate of a share, in bit/s."""
        return share_hz * self._efficiency_bit_s_hz(cn0_hz)

    def share_hz_for_rate(self, cn0_hz: float, rate_bps: float) -> float:
        """Return the share that reaches a rate, in Hz; infinite where none does."""
        if not rate_bps:
            return 0.0
        efficiency_bit_s_hz = self._efficiency_bit_s_hz(cn0_hz)
        return rate_bps / efficiency_bit_s_hz if efficiency_bit_s_hz else math.inf

    def _efficiency_bit_s_hz(self, cn0_hz: float) -> float:
        raise NotImplementedError
