"""The fleet of a scenario, before anything is drawn."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from netsim.availability import AVAILABILITIES, Always, Availability
from netsim.channel import PLACEMENTS, Placement
from netsim.channel.own_links import LINKS, Links
from netsim.core.quantities import Hertz
from netsim.devices.battery import Battery
from netsim.devices.catalogue import DeviceChoice
from netsim.devices.device import SPREADS, Spread
from netsim.devices.device_file import NO_POWERS
from netsim.mobility import MOBILITIES, Mobility, Still
from netsim.network.cell import Gain, Power
from netsim.scenario import OneOf, Record
from netsim.scenario.each import OneOrEach


class PopulationConfig(Record):
    """How many clients there are, where, with which devices and radios.

    Around ``cells`` client ``n`` is placed around the ``n``-th of them in turn, so that
    each has as many; around the ``origin`` all are placed alike. In whose cell a client
    is follows from the channels. The placement is where clients are at first; a file
    of places has its own.
    """

    num_clients: int = Field(ge=1, le=10_000_000)
    placement: Annotated[Placement, OneOf(PLACEMENTS)] | None = None
    placed_around: Literal["cells", "origin"] = "cells"
    mobility: Annotated[Mobility, OneOf(MOBILITIES)] = Still()
    devices: tuple[DeviceChoice, ...] = Field(min_length=1)
    speed_spread: Annotated[Spread, OneOf(SPREADS)] | None = None
    compute_jitter: float = Field(default=0.0, ge=0, le=5)
    transmit_power_dbm: Power = 23.0
    antenna_gain_dbi: Gain = 0.0
    links: Annotated[Links, OneOf(LINKS)] | None = None
    radio_band_hz: OneOrEach[Annotated[Hertz, Field(gt=0)]] | None = None
    availability: Annotated[Availability, OneOf(AVAILABILITIES)] = Always()
    battery: Battery | None = None

    @model_validator(mode="after")
    def _is_placed_once(self) -> PopulationConfig:
        if self.mobility.has_places == (self.placement is None):
            return self
        if self.placement is None:
            raise ValueError("missing key 'placement'")
        raise ValueError("mobility from a file says where clients are: no placement")

    @model_validator(mode="after")
    def _can_spend(self) -> PopulationConfig:
        if self.battery is None:
            return self
        for choice in self.devices:
            if NO_POWERS in choice.device.source:
                raise ValueError(
                    f"a battery needs to know what {choice.device.name!r} draws: write "
                    "compute_power and idle_power into its file"
                )
        return self
