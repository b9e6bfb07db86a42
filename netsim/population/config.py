"""The settings of a population: places, devices, radios, availability, batteries."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from netsim.availability import AVAILABILITIES, Always, Availability, presence
from netsim.channel import PLACEMENTS, Placement, placement
from netsim.channel.own_links import ANSWERS as OF_LINKS
from netsim.channel.own_links import LINKS, Links
from netsim.core.quantities import Hertz
from netsim.devices import device
from netsim.devices.battery import Battery
from netsim.devices.catalogue import DeviceChoice
from netsim.devices.device import SPREADS, Spread
from netsim.devices.device_file import NO_POWERS
from netsim.mobility import MOBILITIES, Mobility, Still, path
from netsim.network.cell import Gain, Power
from netsim.scenario import OneOf, Record, is_loaded
from netsim.scenario.each import OneOrEach
from netsim.scenario.traits import AVAILABILITY, PLACEMENT

PlacedBy = Annotated[
    Placement, OneOf(PLACEMENTS, PLACEMENT, placement.ANSWERS, "placement")
]
MovedBy = Annotated[Mobility, OneOf(MOBILITIES, answers=path.ANSWERS, seam="mobility")]
LinkedBy = Annotated[Links, OneOf(LINKS, answers=OF_LINKS, seam="links")]
SpreadBy = Annotated[
    Spread, OneOf(SPREADS, answers=device.ANSWERS, seam="speed_spread")
]
ThereBy = Annotated[
    Availability, OneOf(AVAILABILITIES, AVAILABILITY, presence.ANSWERS, "availability")
]


class PopulationConfig(Record):
    """The number of clients, their places, devices, radios and availability.

    ``placement`` gives the places at time zero; mobility from a file replaces it. With
    ``placed_around: cells`` the clients are placed around the cells in turn, with
    ``origin`` all around (0, 0). ``association`` then decides which cell serves a
    client.
    """

    num_clients: int = Field(ge=1, le=10_000_000)
    placement: PlacedBy | None = None
    placed_around: Literal["cells", "origin"] = "cells"
    mobility: MovedBy = Still()
    devices: tuple[DeviceChoice, ...] = Field(min_length=1)
    speed_spread: SpreadBy | None = None
    compute_jitter: float = Field(default=0.0, ge=0, le=5)
    transmit_power_dbm: Power = 23.0
    antenna_gain_dbi: Gain = 0.0
    links: LinkedBy | None = None
    radio_band_hz: OneOrEach[Annotated[Hertz, Field(gt=0)]] | None = None
    availability: ThereBy = Always()
    battery: Battery | None = None

    @model_validator(mode="after")
    def _check_placement(self) -> PopulationConfig:
        if not is_loaded(self.mobility):
            return self
        if self.mobility.has_places == (self.placement is None):
            return self
        if self.placement is None:
            raise ValueError("missing key 'placement'")
        raise ValueError(
            "mobility from a file sets the clients' places: remove `placement`"
        )

    @model_validator(mode="after")
    def _check_powers(self) -> PopulationConfig:
        if self.battery is None:
            return self
        for choice in self.devices:
            if NO_POWERS in choice.device.source:
                raise ValueError(
                    f"a battery needs the powers of {choice.device.name!r}: write "
                    "compute_power and idle_power into its file"
                )
        return self
