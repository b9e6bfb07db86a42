"""A radio whose efficiency is what somebody measured, for everybody alike."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from netsim.channel.capacity import CapacityTable
from netsim.channel.measured import Format, Offset, offset_ns, placed, read_capacity
from netsim.core.quantities import Hertz
from netsim.scenario.record import Record


class MeasuredRadio(Record):
    """A measured trace: its rate, over the reference band, is the efficiency at every
    moment, of whoever sends. Distance and fading play no part; plans take its mean.
    ``start_offset`` is where in its lap the trace is at time zero."""

    kind: Literal["measured"] = "measured"
    path: Annotated[str, Field(min_length=1), AfterValidator(placed)]
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

    def started(self, seed: int, direction: str) -> CapacityTable:
        """Return the lap from where the trace of a band in this direction starts."""
        table = self.capacity()
        start = offset_ns(self.start_offset_s, table.period_ns, seed, direction)
        return table.from_offset(start)

    @property
    def gap_db(self) -> float:
        return 0.0

    @property
    def max_efficiency_bit_s_hz(self) -> float:
        return max(step.efficiency_nbit for step in self.capacity().steps) / 1e9

    def snr(self, cn0_hz: float, share_hz: float) -> float:
        return cn0_hz / self.reference_band_hz

    def efficiency_nbit(self, cn0_hz: float, share_uhz: int) -> int:
        return 1  # times the table's own, which passes instead of time

    def rate_bps(self, cn0_hz: float, share_hz: float) -> float:
        return share_hz * self.capacity().mean_efficiency_bit_s_hz

    def share_hz_for_rate(self, cn0_hz: float, rate_bps: float) -> float:
        if not math.isfinite(rate_bps):
            return math.inf
        return rate_bps / self.capacity().mean_efficiency_bit_s_hz
