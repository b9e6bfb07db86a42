"""A radio with a measured efficiency, the same for all clients."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from netsim.channel.capacity import CapacityTable
from netsim.channel.measured import Format, Offset, offset_ns, read_capacity
from netsim.core.quantities import Hertz
from netsim.scenario.file_path import FilePath
from netsim.scenario.record import Record


class MeasuredRadio(Record):
    """A measured trace: its rate divided by ``reference_band`` is the efficiency of
    every sender. Distance and fading have no effect; plans use the mean. The trace
    repeats; ``start_offset`` is its position at time zero."""

    kind: Literal["measured"] = "measured"
    path: FilePath
    format: Format = "mahimahi"
    reference_band_hz: Annotated[Hertz, Field(ge=1, le=1e12)]
    start_offset_s: Offset = 0.0
    depends_on_share: ClassVar[bool] = False

    @model_validator(mode="after")
    def _check_file(self) -> Self:
        self.capacity()
        return self

    def capacity(self) -> CapacityTable:
        return read_capacity(Path(self.path), self.format, self.reference_band_hz)

    def from_start(self, seed: int, direction: str) -> CapacityTable:
        """Return the capacity of a band from its start offset on."""
        table = self.capacity()
        start = offset_ns(self.start_offset_s, table.period_ns, seed, direction)
        return table.from_offset(start)

    @property
    def full_power_hz(self) -> float:
        return self.reference_band_hz

    @property
    def gap_db(self) -> float:
        return 0.0

    @property
    def max_efficiency_bit_s_hz(self) -> float:
        return max(step.efficiency_nbit for step in self.capacity().steps) / 1e9

    def snr(self, cn0_hz: float, share_hz: float) -> float:
        return cn0_hz / self.reference_band_hz

    def efficiency_nbit(self, cn0_hz: float, share_uhz: int) -> int:
        return 1  # the capacity table multiplies it

    def rate_bps(self, cn0_hz: float, share_hz: float) -> float:
        return share_hz * self.capacity().mean_efficiency_bit_s_hz

    def share_hz_for_rate(self, cn0_hz: float, rate_bps: float) -> float:
        if not math.isfinite(rate_bps):
            return math.inf
        return rate_bps / self.capacity().mean_efficiency_bit_s_hz
