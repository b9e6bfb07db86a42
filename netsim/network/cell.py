"""A cell: place, uplink and downlink bands, radio channel and backhaul."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from netsim.channel import (
    FADINGS,
    PATH_LOSSES,
    RADIOS,
    Fading,
    NoFading,
    PathLoss,
    fading,
    latency,
    path_loss,
    radio,
)
from netsim.channel.fading import KnownFading
from netsim.channel.latency import JITTERS, Jitter
from netsim.channel.mcs_table import Stepped
from netsim.channel.packet_errors import TransmissionErrors
from netsim.channel.radio import Radio
from netsim.core.quantities import (
    Dbi,
    Dbm,
    DbmPerHertz,
    Decibel,
    Hertz,
    Metres,
    Seconds,
)
from netsim.network.backhaul import Backhaul
from netsim.network.presets import expanded, or_preset
from netsim.network.transport import NO_TRANSPORT, Transport
from netsim.scenario import OneOf, Record, is_loaded
from netsim.scenario.traits import SHARING
from netsim.sharing import SHARING_RULES, ProcessorSharing, SharingRule, rule


def _check_whole(band_hz: float) -> float:
    if band_hz != int(band_hz):
        raise ValueError(f"must be a whole number of Hz, got {band_hz!r}")
    return band_hz


Direction = Literal["up", "down"]
DIRECTIONS: tuple[Direction, Direction] = ("up", "down")
Power = Annotated[Dbm, Field(ge=-100, le=100)]
Gain = Annotated[Dbi, Field(ge=-100, le=100)]
NoiseFigure = Annotated[Decibel, Field(ge=0, le=100)]
Band = Annotated[Hertz, Field(ge=1, le=1e12), AfterValidator(_check_whole)]
Latency = Annotated[Seconds, Field(ge=0)]
Timeout = Annotated[Seconds, Field(gt=0)]
MinimumSnr = Annotated[Decibel, Field(ge=-100, le=100)]

HeardBy = Annotated[Radio, OneOf(RADIOS, answers=radio.ANSWERS, seam="radio")]
DividedBy = Annotated[
    SharingRule, OneOf(SHARING_RULES, SHARING, rule.ANSWERS, "sharing")
]
DelayedBy = Annotated[Jitter, OneOf(JITTERS, answers=latency.ANSWERS, seam="jitter")]
WeakenedBy = Annotated[
    PathLoss, OneOf(PATH_LOSSES, answers=path_loss.ANSWERS, seam="path_loss")
]
FadedBy = Annotated[
    Fading,
    OneOf(
        FADINGS,
        answers=fading.ANSWERS,
        seam="fading",
        shipped=frozenset({"probability_above"}),
    ),
]


class Uplink(Record):
    """The band that devices send on; ``population`` sets their transmit power.

    A message arrives ``latency`` plus a draw of ``jitter`` after its last bit and uses
    no band meanwhile. Below ``minimum_snr``, and below the lowest entry of a radio's
    table, the spectral efficiency is zero (an outage); an outage as long as
    ``outage_timeout`` ends the transfer.
    """

    band_hz: Band
    radio: HeardBy
    sharing: DividedBy
    latency_s: Latency = 0.0
    jitter: DelayedBy | None = None
    minimum_snr_db: MinimumSnr | None = None
    outage_timeout_s: Timeout | None = None
    errors: TransmissionErrors | None = None
    transport: Transport = NO_TRANSPORT

    @model_validator(mode="after")
    def _check_outage(self) -> Uplink:
        _require_valid_outage(self)
        _require_valid_window(self)
        return self


class Downlink(Record):
    """The band that the base station sends on.

    A broadcast is one transfer on the whole band at the rate of the addressed device
    with the weakest channel. In unicast each device has its own transfer, under
    ``sharing``. Latency, outage and errors work as on the uplink. A broadcast has one
    latency. Each addressed device loses it by its own draw; all lose it if an outage
    ends it. A device that lost it gets its own transfer, which counts as first retry.
    """

    band_hz: Band
    radio: HeardBy
    mode: Literal["broadcast", "unicast"] = "broadcast"
    sharing: DividedBy | None = None
    transmit_power_dbm: Power = 30.0
    latency_s: Latency = 0.0
    jitter: DelayedBy | None = None
    minimum_snr_db: MinimumSnr | None = None
    outage_timeout_s: Timeout | None = None
    errors: TransmissionErrors | None = None
    transport: Transport = NO_TRANSPORT

    @model_validator(mode="after")
    def _check_outage(self) -> Downlink:
        _require_valid_outage(self)
        return self

    @model_validator(mode="after")
    def _check_transport(self) -> Downlink:
        _require_valid_window(self)
        if self.transport.grant_delay_s:
            raise ValueError("a downlink has no grants: set `grant_delay` on `uplink`")
        if self.mode == "broadcast" and self.transport.round_trip_s:
            raise ValueError(
                "a broadcast has no connection: remove `round_trip`, "
                "`set_up_round_trips`, `initial_window` and `window`, or set"
                " `mode: unicast`"
            )
        return self

    @model_validator(mode="after")
    def _check_sharing(self) -> Downlink:
        if self.mode == "broadcast" and self.sharing is not None:
            raise ValueError(
                "a broadcast has no `sharing`: remove it, or set `mode: unicast`"
            )
        if self.mode == "unicast" and self.sharing is None:
            raise ValueError("unicast needs `sharing`, such as processor-sharing")
        if self.sharing is not None and "plans-rounds" in self.sharing.traits:
            raise ValueError(
                f"sharing {self.sharing.kind!r} plans uploads at a round's start; on "
                "the downlink use a rule that acts at events, such as processor-sharing"
            )
        return self

    @property
    def rule(self) -> SharingRule:
        """Return the sharing rule of the band."""
        return ProcessorSharing() if self.sharing is None else self.sharing


def _require_valid_window(air: Uplink | Downlink) -> None:
    """Raise ``ValueError`` for a window on a band whose rate was measured."""
    if air.transport.pace is None or not is_loaded(air.radio):
        return
    if air.radio.capacity() is not None:
        raise ValueError(
            "`initial_window` and `window` have no effect on a measured radio: leave "
            "them out of `transport`"
        )


def _require_valid_outage(air: Uplink | Downlink) -> None:
    """Raise ``ValueError`` for outage settings that do not fit radio or rule."""
    if air.minimum_snr_db is None:
        has_outages = isinstance(air.radio, Stepped) or not is_loaded(air.radio)
        if air.outage_timeout_s is not None and not has_outages:
            raise ValueError("`outage_timeout` needs a `minimum_snr`")
        return
    if not is_loaded(air.radio):
        return
    if air.radio.capacity() is not None:
        raise ValueError(
            "`minimum_snr` has no meaning for a measured radio: its trace contains the "
            "outages"
        )
    seeks = air.sharing is not None and "seeks-shares" in air.sharing.traits
    if air.radio.depends_on_share and air.sharing is not None and seeks:
        raise ValueError(
            f"{air.sharing.kind!r} cannot search for shares where a wider one may fall "
            "below `minimum_snr`; use the per-hertz radio, or processor-sharing"
        )


class Cell(Record):
    """One base station and its radio channel.

    A ``preset`` names a shipped cell; the cell's other keys replace the preset's.
    Messages pass the ``backhaul`` between the base station and the server. With a
    ``shadowing_correlation`` (a distance), shadowing varies along a moving client's
    path; without one it is constant per client.
    """

    preset: str | None = Field(default=None, exclude=True)  # gone once it is expanded
    name: str = Field(default="cell", min_length=1, max_length=64)
    position_m: tuple[Metres, Metres] = (0.0, 0.0)
    backhaul: Backhaul | None = None
    uplink: Uplink
    downlink: Downlink
    path_loss: WeakenedBy
    shadowing_correlation_m: Annotated[Metres, Field(gt=0)] | None = None
    fading: FadedBy = NoFading()
    antenna_gain_dbi: Gain = 0.0
    noise_density_dbm_hz: Annotated[DbmPerHertz, Field(ge=-300, le=0)] = -174.0
    base_noise_figure_db: NoiseFigure = 5.0
    device_noise_figure_db: NoiseFigure = 9.0

    @model_validator(mode="before")
    @classmethod
    def _expand_preset(cls, value: object) -> object:
        if isinstance(value, Mapping) and value.get("preset") is not None:
            return expanded(value)
        return value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Return the schema of a whole cell, or of a preset with some keys."""
        return or_preset(handler.resolve_ref_schema(handler(schema)))

    @model_validator(mode="after")
    def _check_steps(self) -> Self:
        """Refuse a user's fading of unknown distribution under a radio with steps."""
        is_known = isinstance(self.fading, KnownFading) or not is_loaded(self.fading)
        if not is_known and any(
            isinstance(self.band(one).radio, Stepped) for one in DIRECTIONS
        ):
            raise ValueError(
                "a radio with a table needs the distribution of the fading: give its "
                "class a method `probability_above(gains)`, or use a shipped fading, "
                "such as 'rayleigh'"
            )
        return self

    def band(self, direction: Direction) -> Uplink | Downlink:
        """Return the band of one direction."""
        return self.uplink if direction == "up" else self.downlink

    def fading_of(self, radio: Radio) -> Fading:
        """Return the fading of a radio; a measured trace already contains it."""
        return self.fading if radio.capacity() is None else NoFading()
