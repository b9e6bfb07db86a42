"""Placements: the places of devices around a base station or the origin."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal, Protocol, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from netsim.channel.path_loss import PathLoss, require_distance
from netsim.core.quantities import Metres
from netsim.errors import InputError
from netsim.scenario.plug_ins import Answer, Answers, are_numbers
from netsim.scenario.record import Record
from netsim.scenario.traits import Traits

FloatArray = npt.NDArray[np.float64]
Places = tuple[FloatArray, FloatArray]  # x and y in metres


class Placement(Protocol):
    """Draws the places of a population as two arrays, x and y in metres; ``range_m``
    is the least and the greatest distance that it can draw."""

    @property
    def traits(self) -> Traits: ...

    @property
    def range_m(self) -> tuple[float, float]: ...

    def place(self, num_clients: int, rng: np.random.Generator) -> Places: ...


ANSWERS: Answers = {
    "range_m": Answer(
        "the least and the greatest distance in metres",
        lambda answer: len(answer) == 2 and 0 <= answer[0] <= answer[1] < math.inf,
    ),
    "place": Answer(
        "two arrays, x and y in metres, with one finite number for every client",
        lambda answer, num_clients, rng: (
            len(answer) == 2 and all(are_numbers(one, num_clients) for one in answer)
        ),
    ),
}


class Disc(Record):
    """Uniform over the area between ``min_distance_m`` and ``radius_m``."""

    traits: ClassVar[Traits] = {"around-a-cell": ""}
    kind: Literal["disc"] = "disc"
    radius_m: Annotated[Metres, Field(gt=0)]
    min_distance_m: Annotated[Metres, Field(ge=0)] = 10.0

    @model_validator(mode="after")
    def _check_radii(self) -> Self:
        if not self.min_distance_m < self.radius_m:
            raise ValueError(
                f"radius must exceed the minimum distance of {self.min_distance_m:g} m,"
                f" got {self.radius_m:g} m"
            )
        return self

    @property
    def range_m(self) -> tuple[float, float]:
        return self.min_distance_m, self.radius_m

    def place(self, num_clients: int, rng: np.random.Generator) -> Places:
        low_m2, high_m2 = self.min_distance_m**2, self.radius_m**2
        area, turn = _pairs(num_clients, rng)
        return _around(np.sqrt(low_m2 + (high_m2 - low_m2) * area), turn)


class Ring(Record):
    """All clients at one distance, in random directions."""

    traits: ClassVar[Traits] = {"around-a-cell": ""}
    kind: Literal["ring"] = "ring"
    distance_m: Annotated[Metres, Field(gt=0)]

    @property
    def range_m(self) -> tuple[float, float]:
        return self.distance_m, self.distance_m

    def place(self, num_clients: int, rng: np.random.Generator) -> Places:
        _, turn = _pairs(num_clients, rng)
        return _around(np.full(num_clients, self.distance_m), turn)


class Positions(Record):
    """Client ``n`` at the ``n``-th listed distance, in a random direction."""

    traits: ClassVar[Traits] = {"around-a-cell": ""}
    kind: Literal["list"] = "list"
    distances_m: tuple[Annotated[Metres, Field(gt=0)], ...] = Field(min_length=1)

    @property
    def range_m(self) -> tuple[float, float]:
        return min(self.distances_m), max(self.distances_m)

    def place(self, num_clients: int, rng: np.random.Generator) -> Places:
        _require_one_each(len(self.distances_m), "distances", num_clients)
        _, turn = _pairs(num_clients, rng)
        return _around(np.array(self.distances_m), turn)


class Points(Record):
    """Client ``n`` at the ``n``-th listed place."""

    traits: ClassVar[Traits] = {"around-the-origin": ""}
    kind: Literal["points"] = "points"
    places_m: tuple[tuple[Metres, Metres], ...] = Field(min_length=1)

    @property
    def range_m(self) -> tuple[float, float]:
        distances_m = [math.hypot(*place) for place in self.places_m]
        return min(distances_m), max(distances_m)

    def place(self, num_clients: int, rng: np.random.Generator) -> Places:
        _require_one_each(len(self.places_m), "places", num_clients)
        x_m, y_m = np.array(self.places_m).T
        return x_m, y_m


def require_reachable(placement: Placement, path_loss: PathLoss) -> None:
    """Raise ``InputError`` if any draw of a placement could lie outside the range of
    the path loss."""
    for distance_m in placement.range_m:
        require_distance(path_loss, distance_m)


def _require_one_each(num_listed: int, what: str, num_clients: int) -> None:
    if num_listed != num_clients:
        raise InputError(
            f"placement lists {num_listed} {what} for {num_clients} clients: list one"
            " for each"
        )


def _pairs(num_clients: int, rng: np.random.Generator) -> Places:
    """Draw two uniform numbers per client, in the order of clients, so that another
    client changes no earlier draw."""
    area, turn = rng.random((num_clients, 2)).T
    return area, turn


def _around(distances_m: FloatArray, turn: FloatArray) -> Places:
    """Use ``math`` for cos and sin: numpy's results differ between processors."""
    angles = (2 * math.pi * turn).tolist()
    x, y = (np.fromiter(map(f, angles), np.float64) for f in (math.cos, math.sin))
    return distances_m * x, distances_m * y


PLACEMENTS = {"disc": Disc, "list": Positions, "points": Points, "ring": Ring}
