"""Path loss of 3GPP TR 38.901: Tables 7.4.1-1 (loss) and 7.4.2-1 (line of sight).

Heights that the standard gives for a scenario are the defaults. The loss without line
of sight is never less than that with it.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Protocol

import numpy as np
from pydantic import Field

from netsim.channel.budget import each
from netsim.channel.path_loss import (
    FloatArray,
    LogDistance,
    LossesAtOnce,
    Mask,
    PathLoss,
    require_distance,
)
from netsim.core.quantities import Hertz, Metres
from netsim.scenario.record import Record

_HZ_PER_GHZ = 1e9
_LIGHT_M_PER_S = 3.0e8  # the standard rounds it

Carrier = Annotated[Hertz, Field(ge=0.5e9, le=100e9)]


class _Town:
    """What urban micro and macro have in common; both answer for one distance or, as
    :class:`netsim.channel.path_loss.LossesAtOnce`, for many."""

    __slots__ = ()
    sight_reach_m: ClassVar[float]
    loss_1m_db: ClassVar[float]  # in sight at 1 GHz
    slope_db: ClassVar[float]  # per decade of metres up to the breakpoint
    # no sight: per decade of metres, at 1 m, per decade of GHz, per metre of height
    obstructed_db: ClassVar[tuple[float, float, float, float]]
    obstructed_sigma_db: ClassVar[float]

    if TYPE_CHECKING:
        carrier_hz: float
        base_height_m: float
        device_height_m: float

    @property
    def valid_range_m(self) -> tuple[float, float]:
        return 10.0, 5_000.0

    @property
    def breakpoint_m(self) -> float:
        """``4 h'_BS h'_UT f_c / c``, heights over an effective ground of 1 m."""
        return _breakpoint_m(self.base_height_m, self.device_height_m, self.carrier_hz)

    def line_of_sight_probability(self, distance_2d_m: float) -> float:
        if distance_2d_m <= 18:
            return 1.0
        near = 18 / distance_2d_m
        return near + math.exp(-distance_2d_m / self.sight_reach_m) * (1 - near)

    def line_of_sight_probabilities(self, distances_m: FloatArray) -> FloatArray:
        near = 18 / distances_m
        beyond = near + each(math.exp, -distances_m / self.sight_reach_m) * (1 - near)
        return np.where(distances_m <= 18, 1.0, beyond)

    def loss_db(self, distance_2d_m: float, is_line_of_sight: bool) -> float:
        require_distance(self, distance_2d_m)
        decades_m = math.log10(_distance_3d_m(self, distance_2d_m))
        is_near = distance_2d_m <= self.breakpoint_m
        slope_db, more_db = self._in_sight(is_near=is_near)
        near_db = self.loss_1m_db + 20 * _decades_ghz(self.carrier_hz)
        in_sight_db = near_db + slope_db * decades_m - more_db
        if is_line_of_sight:
            return in_sight_db
        slope_db, at_1m_db, carrier_db, height_db = self._obstructed()
        obstructed_db = slope_db * decades_m + at_1m_db + carrier_db - height_db
        return max(in_sight_db, obstructed_db)

    def losses_db(self, distances_m: FloatArray, are_in_sight: Mask) -> FloatArray:
        rise_m = self.base_height_m - self.device_height_m
        rises_m = np.full_like(distances_m, rise_m)
        decades_m = each(math.log10, each(math.hypot, distances_m, rises_m))
        are_near = distances_m <= self.breakpoint_m
        near_db = self.loss_1m_db + 20 * _decades_ghz(self.carrier_hz)
        slope_db, more_db = self._in_sight(is_near=False)
        far_db = near_db + slope_db * decades_m - more_db
        slope_db, _ = self._in_sight(is_near=True)
        in_sight_db = np.where(are_near, near_db + slope_db * decades_m, far_db)
        slope_db, at_1m_db, carrier_db, height_db = self._obstructed()
        obstructed_db = slope_db * decades_m + at_1m_db + carrier_db - height_db
        highest_db = np.maximum(in_sight_db, obstructed_db)
        return np.where(are_in_sight, in_sight_db, highest_db)

    def shadowing_sigma_db(self, distance_2d_m: float, is_line_of_sight: bool) -> float:
        return 4.0 if is_line_of_sight else self.obstructed_sigma_db

    def shadowing_sigmas_db(self, are_in_sight: Mask) -> FloatArray:
        return np.where(are_in_sight, 4.0, self.obstructed_sigma_db)

    def _in_sight(self, *, is_near: bool) -> tuple[float, float]:
        """Return dB per decade of metres, and what makes the loss continuous at the
        breakpoint."""
        if is_near:
            return self.slope_db, 0.0
        rise_m = self.base_height_m - self.device_height_m
        return 40, (40 - self.slope_db) / 2 * _knee(self.breakpoint_m, rise_m)

    def _obstructed(self) -> tuple[float, float, float, float]:
        slope_db, at_1m_db, carrier_db, height_db = self.obstructed_db
        carrier_db *= _decades_ghz(self.carrier_hz)
        return slope_db, at_1m_db, carrier_db, height_db * (self.device_height_m - 1.5)


class UrbanMicro(_Town, Record):
    """Urban micro, street canyon, from 10 m to 5 km."""

    kind: Literal["umi"] = "umi"
    carrier_hz: Carrier
    base_height_m: Annotated[Metres, Field(gt=1)] = 10.0
    device_height_m: Annotated[Metres, Field(ge=1.5, le=22.5)] = 1.5
    sight_reach_m: ClassVar[float] = 36.0
    loss_1m_db: ClassVar[float] = 32.4
    slope_db: ClassVar[float] = 21
    obstructed_db: ClassVar = (35.3, 22.4, 21.3, 0.3)
    obstructed_sigma_db: ClassVar[float] = 7.82


class UrbanMacro(_Town, Record):
    """Urban macro, from 10 m to 5 km, for devices up to 13 m high; for higher ones the
    standard draws the effective ground height at random."""

    kind: Literal["uma"] = "uma"
    carrier_hz: Carrier
    base_height_m: Annotated[Metres, Field(gt=1)] = 25.0
    device_height_m: Annotated[Metres, Field(ge=1.5, le=13)] = 1.5
    sight_reach_m: ClassVar[float] = 63.0
    loss_1m_db: ClassVar[float] = 28.0
    slope_db: ClassVar[float] = 22
    obstructed_db: ClassVar = (39.08, 13.54, 20, 0.6)
    obstructed_sigma_db: ClassVar[float] = 6.0


class RuralMacro(Record):
    """Rural macro, from 10 m to 5 km (the standard: 10 km in line of sight), up to
    30 GHz, for an average building height and street width."""

    kind: Literal["rma"] = "rma"
    carrier_hz: Annotated[Hertz, Field(ge=0.5e9, le=30e9)]
    base_height_m: Annotated[Metres, Field(ge=10, le=150)] = 35.0
    device_height_m: Annotated[Metres, Field(ge=1, le=10)] = 1.5
    building_height_m: Annotated[Metres, Field(ge=5, le=50)] = 5.0
    street_width_m: Annotated[Metres, Field(ge=5, le=50)] = 20.0

    @property
    def valid_range_m(self) -> tuple[float, float]:
        return 10.0, 5_000.0

    def line_of_sight_probability(self, distance_2d_m: float) -> float:
        return math.exp(-max(distance_2d_m - 10, 0.0) / 1000)

    def loss_db(self, distance_2d_m: float, is_line_of_sight: bool) -> float:
        require_distance(self, distance_2d_m)
        distance_3d_m = _distance_3d_m(self, distance_2d_m)
        if distance_2d_m <= self.breakpoint_m:
            in_sight_db = self._near_db(distance_3d_m)
        else:
            decades = math.log10(distance_3d_m / self.breakpoint_m)
            in_sight_db = self._near_db(self.breakpoint_m) + 40 * decades
        if is_line_of_sight:
            return in_sight_db
        return max(in_sight_db, self._obstructed_db(distance_3d_m))

    def shadowing_sigma_db(self, distance_2d_m: float, is_line_of_sight: bool) -> float:
        if not is_line_of_sight:
            return 8.0
        return 4.0 if distance_2d_m <= self.breakpoint_m else 6.0

    @property
    def breakpoint_m(self) -> float:
        """``2 pi h_BS h_UT f_c / c``, with heights above ground."""
        heights_m2 = self.base_height_m * self.device_height_m
        return 2 * math.pi * heights_m2 * self.carrier_hz / _LIGHT_M_PER_S

    def _near_db(self, distance_3d_m: float) -> float:
        decades_m = math.log10(distance_3d_m)
        clutter: float = self.building_height_m**1.72
        slope_db = 20 + min(0.03 * clutter, 10)
        free_db = 20 * math.log10(40 * math.pi / 3) + 20 * _decades_ghz(self.carrier_hz)
        haze_db = 0.002 * math.log10(self.building_height_m) * distance_3d_m
        return free_db + slope_db * decades_m - min(0.044 * clutter, 14.77) + haze_db

    def _obstructed_db(self, distance_3d_m: float) -> float:
        base_m, building_m = self.base_height_m, self.building_height_m
        decades_base = math.log10(base_m)
        town_db = -7.1 * math.log10(self.street_width_m) + 7.5 * math.log10(building_m)
        base_db = -(24.37 - 3.7 * (building_m / base_m) ** 2) * decades_base
        slope_db = (43.42 - 3.1 * decades_base) * (math.log10(distance_3d_m) - 3)
        device_db = 3.2 * math.log10(11.75 * self.device_height_m) ** 2 - 4.97
        carrier_db = 20 * _decades_ghz(self.carrier_hz)
        return 161.04 + town_db + base_db + slope_db + carrier_db - device_db


class IndoorOffice(Record):
    """Indoor hotspot in a mixed (closed rooms) or open office, from 1 m to 150 m in
    three dimensions."""

    kind: Literal["inh"] = "inh"
    carrier_hz: Carrier
    office: Literal["mixed", "open"] = "mixed"
    base_height_m: Annotated[Metres, Field(gt=0, le=100)] = 3.0
    device_height_m: Annotated[Metres, Field(gt=0, le=100)] = 1.0

    @property
    def valid_range_m(self) -> tuple[float, float]:
        rise_m2 = (self.base_height_m - self.device_height_m) ** 2
        return math.sqrt(max(1 - rise_m2, 0.0)), math.sqrt(150**2 - rise_m2)

    def line_of_sight_probability(self, distance_2d_m: float) -> float:
        if self.office == "open":
            if distance_2d_m <= 49:
                return math.exp(-max(distance_2d_m - 5, 0.0) / 70.8)
            return 0.54 * math.exp(-(distance_2d_m - 49) / 211.7)
        if distance_2d_m < 6.5:
            return math.exp(-max(distance_2d_m - 1.2, 0.0) / 4.7)
        return 0.32 * math.exp(-(distance_2d_m - 6.5) / 32.6)

    def loss_db(self, distance_2d_m: float, is_line_of_sight: bool) -> float:
        require_distance(self, distance_2d_m)
        decades_m = math.log10(_distance_3d_m(self, distance_2d_m))
        decades_ghz = _decades_ghz(self.carrier_hz)
        in_sight_db = 32.4 + 17.3 * decades_m + 20 * decades_ghz
        if is_line_of_sight:
            return in_sight_db
        return max(in_sight_db, 38.3 * decades_m + 17.3 + 24.9 * decades_ghz)

    def shadowing_sigma_db(self, distance_2d_m: float, is_line_of_sight: bool) -> float:
        return 3.0 if is_line_of_sight else 8.03


class _Ends(Protocol):
    @property
    def base_height_m(self) -> float: ...
    @property
    def device_height_m(self) -> float: ...


def _distance_3d_m(ends: _Ends, distance_2d_m: float) -> float:
    return math.hypot(distance_2d_m, ends.base_height_m - ends.device_height_m)


@cache
def _knee(breakpoint_m: float, rise_m: float) -> float:
    return math.log10(math.hypot(breakpoint_m, rise_m) ** 2)


@cache
def _decades_ghz(carrier_hz: float) -> float:
    return math.log10(carrier_hz / _HZ_PER_GHZ)


@cache
def _breakpoint_m(
    base_height_m: float, device_height_m: float, carrier_hz: float
) -> float:
    heights_m2 = (base_height_m - 1) * (device_height_m - 1)
    return 4 * heights_m2 * carrier_hz / _LIGHT_M_PER_S


def at_once(model: PathLoss) -> LossesAtOnce | None:
    """Return a model that answers for many distances at once, None for another; a class
    that extends one may answer otherwise."""
    if isinstance(model, _Town) and type(model) in (UrbanMicro, UrbanMacro):
        return model
    return None


PATH_LOSSES = {
    "inh": IndoorOffice,
    "log-distance": LogDistance,
    "rma": RuralMacro,
    "uma": UrbanMacro,
    "umi": UrbanMicro,
}
