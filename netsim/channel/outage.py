"""Outage: zero rate below a minimum SNR."""

from __future__ import annotations

import math
from dataclasses import dataclass

from netsim.channel.capacity import CapacityTable
from netsim.channel.wrapped import WrappedRadio


@dataclass(frozen=True, slots=True)
class OutageRadio(WrappedRadio):
    """A radio whose efficiency is zero while its SNR is below ``minimum_snr``."""

    minimum_snr: float

    def efficiency_nbit(self, cn0_hz: float, share_uhz: int) -> int:
        if self._is_out(cn0_hz, share_uhz / 1e6):
            return 0
        return self.radio.efficiency_nbit(cn0_hz, share_uhz)

    def rate_bps(self, cn0_hz: float, share_hz: float) -> float:
        if self._is_out(cn0_hz, share_hz):
            return 0.0
        return self.radio.rate_bps(cn0_hz, share_hz)

    def share_hz_for_rate(self, cn0_hz: float, rate_bps: float) -> float:
        share_hz = self.radio.share_hz_for_rate(cn0_hz, rate_bps)
        return math.inf if self._is_out(cn0_hz, share_hz) else share_hz

    def capacity(self) -> CapacityTable | None:
        return self.radio.capacity()

    def _is_out(self, cn0_hz: float, share_hz: float) -> bool:
        if not share_hz:  # at fixed power a zero share has an infinite SNR
            return not self.radio.depends_on_share and self._is_out(cn0_hz, 1.0)
        return self.radio.snr(cn0_hz, share_hz) < self.minimum_snr
