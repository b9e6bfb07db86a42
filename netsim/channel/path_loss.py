"""Path loss in dB over distance, with what goes with it: sight and shadowing."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Protocol

from pydantic import Field

from netsim.errors import InputError
from netsim.quantities import Decibel, Hertz, Metres
from netsim.scenario.record import Record

_HZ_PER_GHZ = 1e9
_LIGHT_M_PER_S = 3.0e8  # TR 38.901 rounds it
_ROUNDING = 1e-9  # a device placed at the limit may come out a bit beyond it


class PathLoss(Protocol):
    """A propagation model over the horizontal distance between device and base.

    ``loss_db`` refuses a distance outside ``valid_range_m``, where the model says
    nothing; shadowing is log-normal with ``shadowing_sigma_db``.
    """

    @property
    def valid_range_m(self) -> tuple[float, float]: ...

    def line_of_sight_probability(self, distance_2d_m: float) -> float: ...

    def loss_db(self, distance_2d_m: float, is_line_of_sight: bool) -> float: ...

    def shadowing_sigma_db(self, is_line_of_sight: bool) -> float: ...


class LogDistance(Record):
    """``PL(d) = PL(d0) + 10 n log10(d / d0)`` (Rappaport, Wireless Communications,
    section 4.9.1), the same in and out of sight; every device counts as in sight."""

    kind: Literal["log-distance"] = "log-distance"
    exponent: float = Field(gt=0)
    reference_loss_db: Decibel
    reference_distance_m: Annotated[Metres, Field(gt=0)] = 1.0
    shadowing_db: Annotated[Decibel, Field(ge=0)] = 0.0

    @property
    def valid_range_m(self) -> tuple[float, float]:
        return self.reference_distance_m, math.inf

    def line_of_sight_probability(self, distance_2d_m: float) -> float:
        return 1.0

    def loss_db(self, distance_2d_m: float, is_line_of_sight: bool) -> float:
        require_distance(self, distance_2d_m)
        decades = math.log10(distance_2d_m / self.reference_distance_m)
        return self.reference_loss_db + 10 * self.exponent * decades

    def shadowing_sigma_db(self, is_line_of_sight: bool) -> float:
        return self.shadowing_db


class UrbanMicro(Record):
    """Urban micro, street canyon: 3GPP TR 38.901 Tables 7.4.1-1 and 7.4.2-1."""

    kind: Literal["umi"] = "umi"
    carrier_hz: Annotated[Hertz, Field(ge=0.5e9, le=100e9)]
    base_height_m: Annotated[Metres, Field(gt=1)] = 10.0
    device_height_m: Annotated[Metres, Field(ge=1.5, le=22.5)] = 1.5

    @property
    def valid_range_m(self) -> tuple[float, float]:
        return 10.0, 5_000.0

    def line_of_sight_probability(self, distance_2d_m: float) -> float:
        if distance_2d_m <= 18:
            return 1.0
        near = 18 / distance_2d_m
        return near + math.exp(-distance_2d_m / 36) * (1 - near)

    def loss_db(self, distance_2d_m: float, is_line_of_sight: bool) -> float:
        require_distance(self, distance_2d_m)
        in_sight_db = self._in_sight_db(distance_2d_m)
        if is_line_of_sight:
            return in_sight_db
        decades_m = math.log10(self._distance_3d_m(distance_2d_m))
        decades_ghz = math.log10(self.carrier_hz / _HZ_PER_GHZ)
        height_db = 0.3 * (self.device_height_m - 1.5)
        obstructed_db = 35.3 * decades_m + 22.4 + 21.3 * decades_ghz - height_db
        return max(in_sight_db, obstructed_db)

    def shadowing_sigma_db(self, is_line_of_sight: bool) -> float:
        return 4.0 if is_line_of_sight else 7.82

    @property
    def breakpoint_m(self) -> float:
        """``4 h'_BS h'_UT f_c / c``, heights over an effective ground of 1 m."""
        heights_m2 = (self.base_height_m - 1) * (self.device_height_m - 1)
        return 4 * heights_m2 * self.carrier_hz / _LIGHT_M_PER_S

    def _in_sight_db(self, distance_2d_m: float) -> float:
        decades_m = math.log10(self._distance_3d_m(distance_2d_m))
        near_db = 32.4 + 20 * math.log10(self.carrier_hz / _HZ_PER_GHZ)
        if distance_2d_m <= self.breakpoint_m:
            return near_db + 21 * decades_m
        rise_m = self.base_height_m - self.device_height_m
        knee_db = 9.5 * math.log10(self.breakpoint_m**2 + rise_m**2)
        return near_db + 40 * decades_m - knee_db

    def _distance_3d_m(self, distance_2d_m: float) -> float:
        return math.hypot(distance_2d_m, self.base_height_m - self.device_height_m)


def require_distance(path_loss: PathLoss, distance_2d_m: float) -> None:
    """Raise ``InputError`` for a distance at which the model is not defined."""
    nearest_m, farthest_m = path_loss.valid_range_m
    near_enough = distance_2d_m <= farthest_m * (1 + _ROUNDING)
    if not (near_enough and distance_2d_m >= nearest_m * (1 - _ROUNDING)):
        raise InputError(
            f"this path loss holds from {nearest_m:g} m to {farthest_m:g} m,"
            f" got a distance of {distance_2d_m:g} m: place devices within it"
        )


PATH_LOSSES = {"log-distance": LogDistance, "umi": UrbanMicro}
