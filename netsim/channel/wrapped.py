"""What a radio that is heard through something keeps of the radio itself."""

from __future__ import annotations

from dataclasses import dataclass

from netsim.channel.capacity import CapacityTable
from netsim.channel.radio import Radio


@dataclass(frozen=True, slots=True)
class WrappedRadio:
    """A radio whose efficiency something else decides; all else stays its own."""

    radio: Radio

    @property
    def depends_on_share(self) -> bool:
        return self.radio.depends_on_share

    @property
    def gap_db(self) -> float:
        return self.radio.gap_db

    @property
    def max_efficiency_bit_s_hz(self) -> float:
        return self.radio.max_efficiency_bit_s_hz

    def snr(self, cn0_hz: float, share_hz: float) -> float:
        return self.radio.snr(cn0_hz, share_hz)

    def started(self, seed: int, direction: str) -> CapacityTable | None:
        return self.radio.started(seed, direction)
