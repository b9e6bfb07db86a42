"""Path loss over distance, with line of sight and shadowing."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import Field

from netsim.core.quantities import Decibel, Metres
from netsim.errors import InputError
from netsim.scenario.plug_ins import Answer, Answers, is_number
from netsim.scenario.record import Record

FloatArray: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]
_ROUNDING = 1e-9  # relative; a place at the limit may round to just beyond it


class PathLoss(Protocol):
    """A propagation model over the horizontal distance between device and base.

    ``loss_db`` refuses a distance outside ``valid_range_m``; shadowing is log-normal
    with ``shadowing_sigma_db``.
    """

    @property
    def valid_range_m(self) -> tuple[float, float]: ...

    def line_of_sight_probability(self, distance_2d_m: float) -> float: ...

    def loss_db(self, distance_2d_m: float, is_line_of_sight: bool) -> float: ...

    def shadowing_sigma_db(
        self, distance_2d_m: float, is_line_of_sight: bool
    ) -> float: ...


class LossesAtOnce(Protocol):
    """A model that answers for many distances, within its range, at once: the same to
    the last bit."""

    def line_of_sight_probabilities(self, distances_m: FloatArray) -> FloatArray: ...

    def losses_db(self, distances_m: FloatArray, are_in_sight: Mask) -> FloatArray: ...

    def shadowing_sigmas_db(self, are_in_sight: Mask) -> FloatArray: ...


ANSWERS: Answers = {
    "valid_range_m": Answer(
        "the least and the greatest distance in metres",
        lambda answer: len(answer) == 2 and 0 <= answer[0] < answer[1],
    ),
    "line_of_sight_probability": Answer(
        "a probability", lambda answer, *_: is_number(answer, 0, 1)
    ),
    "loss_db": Answer("a finite loss in dB", lambda answer, *_: is_number(answer)),
    "shadowing_sigma_db": Answer(
        "a finite deviation of at least 0 dB", lambda answer, *_: is_number(answer, 0)
    ),
}


class LogDistance(Record):
    """``PL(d) = PL(d0) + 10 n log10(d / d0)`` (Rappaport, Wireless Communications,
    section 4.9.1); every device counts as in line of sight."""

    kind: Literal["log-distance"] = "log-distance"
    exponent: float = Field(gt=0, le=20)
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

    def shadowing_sigma_db(self, distance_2d_m: float, is_line_of_sight: bool) -> float:
        return self.shadowing_db


def require_distance(path_loss: PathLoss, distance_2d_m: float) -> None:
    """Raise ``InputError`` if the model is not defined at a distance."""
    nearest_m, farthest_m = path_loss.valid_range_m
    near_enough = distance_2d_m <= farthest_m * (1 + _ROUNDING)
    if not (near_enough and distance_2d_m >= nearest_m * (1 - _ROUNDING)):
        raise InputError(
            f"this path loss holds from {nearest_m:g} m to {farthest_m:g} m,"
            f" got a distance of {distance_2d_m:g} m: place devices within it"
        )
