"""A cell: its two bands, its radio, and what lies between base station and device."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from netsim.channel import FADINGS, PATH_LOSSES, RADIOS, Fading, NoFading, PathLoss
from netsim.channel.radio import Radio
from netsim.quantities import Dbi, Dbm, DbmPerHertz, Decibel, Hertz
from netsim.scenario import OneOf, Record
from netsim.sharing import SHARING_RULES, ProcessorSharing, SharingRule


def _whole(band_hz: float) -> float:
    if band_hz != int(band_hz):
        raise ValueError(f"must be a whole number of Hz, got {band_hz!r}")
    return band_hz


Band = Annotated[Hertz, Field(ge=1, le=1e12), AfterValidator(_whole)]


class Uplink(Record):
    """The band that devices send on; their transmit power is the population's."""

    band_hz: Band
    radio: Annotated[Radio, OneOf(RADIOS)]
    sharing: Annotated[SharingRule, OneOf(SHARING_RULES)]


class Downlink(Record):
    """The band that the base station sends on.

    A broadcast is one transfer at the rate of the worst addressed device; in unicast
    every device has a transfer of its own, under ``sharing``.
    """

    band_hz: Band
    radio: Annotated[Radio, OneOf(RADIOS)]
    mode: Literal["broadcast", "unicast"] = "broadcast"
    sharing: Annotated[SharingRule, OneOf(SHARING_RULES)] = ProcessorSharing()
    transmit_power_dbm: Dbm = 30.0


class Cell(Record):
    """One base station at the origin, and the air around it."""

    uplink: Uplink
    downlink: Downlink
    path_loss: Annotated[PathLoss, OneOf(PATH_LOSSES)]
    fading: Annotated[Fading, OneOf(FADINGS)] = NoFading()
    antenna_gain_dbi: Dbi = 0.0
    noise_density_dbm_hz: DbmPerHertz = -174.0
    base_noise_figure_db: Annotated[Decibel, Field(ge=0)] = 5.0
    device_noise_figure_db: Annotated[Decibel, Field(ge=0)] = 9.0
