"""Random waypoints: each client moves between random places and pauses at each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field, model_validator

from netsim.core.clock import to_ns
from netsim.core.quantities import MAX_S, Metres, MetresPerSecond, Seconds
from netsim.core.streams import uniform
from netsim.errors import InputError
from netsim.mobility.path import Paths, Place
from netsim.scenario.record import Record

MAX_PASSED = 100_000  # waypoints between two looks at a client
Speed = Annotated[MetresPerSecond, Field(gt=0, le=1000)]
Corner = tuple[Metres, Metres]


class RandomWaypoint(Record):
    """Each client goes straight to a uniformly drawn place of the ``region`` (lower
    left and upper right corner of a rectangle) at a uniformly drawn speed, stays for
    ``pause``, and goes to the next place (Johnson and Maltz, "Dynamic source routing
    in ad hoc wireless networks", 1996). ``min_speed`` is positive: with zero the mean
    speed would decrease for ever. A client placed outside the region moves into
    it."""

    kind: Literal["random-waypoint"] = "random-waypoint"
    region_m: tuple[Corner, Corner]
    min_speed_m_s: Speed
    max_speed_m_s: Speed
    pause_s: Annotated[Seconds, Field(ge=0)] = 0.0
    interval_s: Annotated[Seconds, Field(ge=1e-3)]
    has_places: ClassVar[bool] = False

    @model_validator(mode="after")
    def _check_ranges(self) -> RandomWaypoint:
        if self.min_speed_m_s > self.max_speed_m_s:
            raise ValueError(
                f"min_speed must not exceed max_speed ({self.max_speed_m_s:g} m/s), "
                f"got {self.min_speed_m_s:g} m/s"
            )
        (x0, y0), (x1, y1) = self.region_m
        if not (x0 < x1 and y0 < y1):
            raise ValueError(
                "region must be its lower left and its upper right corner, "
                f"got ({x0:g}, {y0:g}) and ({x1:g}, {y1:g})"
            )
        return self

    @model_validator(mode="after")
    def _check_legs(self) -> RandomWaypoint:
        diagonal_m = math.dist(*self.region_m)
        if diagonal_m / self.min_speed_m_s > MAX_S:
            raise ValueError(
                f"min_speed must cross the region's {diagonal_m:g} m within {MAX_S:g} "
                f"s, got {self.min_speed_m_s:g} m/s"
            )
        leg_s = diagonal_m / 2 / self.max_speed_m_s + self.pause_s
        if leg_s * MAX_PASSED < self.interval_s:
            raise ValueError(
                f"a client would pass over {MAX_PASSED:,} waypoints in one `interval` "
                f"of {self.interval_s:g} s; widen the `region`, or set a `pause`"
            )
        return self

    @property
    def corners_m(self) -> tuple[Place, ...]:
        """Return the region's four corners."""
        (x0, y0), (x1, y1) = self.region_m
        return (x0, y0), (x1, y0), (x0, y1), (x1, y1)

    def paths(self, num_clients: int, starts: Sequence[Place], seed: int) -> Paths:
        return WaypointPaths(self, starts, seed)


class Leg(NamedTuple):
    """One straight movement, and the pause at its end."""

    number: int
    origin: Place
    goal: Place
    start_ns: int
    arrival_ns: int
    end_ns: int


class WaypointPaths:
    """The legs of all clients, drawn in order as far as they are needed."""

    def __init__(
        self, config: RandomWaypoint, starts: Sequence[Place], seed: int
    ) -> None:
        self._config = config
        self._starts = starts
        self._seed = seed
        self._pause_ns = to_ns(config.pause_s)
        self._legs: dict[int, Leg] = {}  # the last one used

    def at(self, client_id: int, now_ns: int) -> Place:
        leg = self._legs.get(client_id)
        if leg is None or now_ns < leg.start_ns:
            leg = self._leg(client_id, 0, self._starts[client_id], 0)
        for _ in range(MAX_PASSED):
            if now_ns < leg.end_ns:
                break
            leg = self._leg(client_id, leg.number + 1, leg.goal, leg.end_ns)
        else:
            raise InputError(
                f"population.mobility: client {client_id} passes more than "
                f"{MAX_PASSED:,} waypoints before it is looked at again, at {now_ns} "
                "ns; widen the `region`, set a `pause`, or shorten what takes so long"
            )
        self._legs[client_id] = leg
        return _along(leg, now_ns)

    def _leg(self, client_id: int, number: int, origin: Place, start_ns: int) -> Leg:
        config = self._config
        (x0, y0), (x1, y1) = config.region_m
        x, y, pace = (
            uniform(self._seed, what, client_id, number)
            for what in ("waypoint-x", "waypoint-y", "waypoint-speed")
        )
        goal = x0 + (x1 - x0) * x, y0 + (y1 - y0) * y
        low, high = config.min_speed_m_s, config.max_speed_m_s
        length_m = math.dist(origin, goal)
        arrival_ns = start_ns + max(1, to_ns(length_m / (low + (high - low) * pace)))
        end_ns = arrival_ns + self._pause_ns
        return Leg(number, origin, goal, start_ns, arrival_ns, end_ns)


def _along(leg: Leg, now_ns: int) -> Place:
    if now_ns >= leg.arrival_ns:
        return leg.goal
    part = (now_ns - leg.start_ns) / (leg.arrival_ns - leg.start_ns)
    (x0, y0), (x1, y1) = leg.origin, leg.goal
    return x0 + (x1 - x0) * part, y0 + (y1 - y0) * part
