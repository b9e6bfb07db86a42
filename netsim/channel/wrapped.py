"""The unchanged part of a radio with another efficiency."""

from __future__ import annotations

from dataclasses import dataclass

from netsim.channel.capacity import CapacityTable
from netsim.channel.radio import Radio


@dataclass(frozen=True, slots=True)
class WrappedRadio:
    """A wrapper of a radio; subclasses replace its efficiency and nothing else."""

    radio: Radio

    @property
    def depends_on_share(self) -> bool:
        return self.radio.depends_on_share

    @property
    def full_power_hz(self) -> float | None:
        return self.radio.full_power_hz

    @property
    def gap_db(self) -> float:
        return self.radio.gap_db

    @property
    def max_efficiency_bit_s_hz(self) -> float:
        return self.radio.max_efficiency_bit_s_hz

    def snr(self, cn0_hz: float, share_hz: float) -> float:
        return self.radio.snr(cn0_hz, share_hz)

    def from_start(self, seed: int, direction: str) -> CapacityTable | None:
        return self.radio.from_start(seed, direction)
