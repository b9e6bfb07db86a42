"""The fleet of a scenario, before anything is drawn."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from netsim.cell import Gain, Power
from netsim.channel import PLACEMENTS, Placement
from netsim.device import SPREADS, Spread
from netsim.device_catalogue import DeviceChoice
from netsim.quantities import Hertz
from netsim.scenario import OneOf, Record


class PopulationConfig(Record):
    """How many clients there are, where, with which devices and radios."""

    num_clients: int = Field(ge=1, le=10_000_000)
    placement: Annotated[Placement, OneOf(PLACEMENTS)]
    devices: tuple[DeviceChoice, ...] = Field(min_length=1)
    speed_spread: Annotated[Spread, OneOf(SPREADS)] | None = None
    compute_jitter: float = Field(default=0.0, ge=0, le=5)
    transmit_power_dbm: Power = 23.0
    antenna_gain_dbi: Gain = 0.0
    radio_band_hz: Annotated[Hertz, Field(gt=0)] | None = None
