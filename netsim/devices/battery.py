"""Batteries: their capacities, and when they run empty."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field

from netsim.core.quantities import Joules
from netsim.core.streams import uniform
from netsim.devices.device import ANSWERS, SPREADS, Spread
from netsim.scenario.record import OneOf, Record

ROUND_OFF = 1e-12  # relative


class Battery(Record):
    """The energy that each client has for the whole run: computing, sending, and
    waiting while it takes part. ``spread`` is a factor of mean one per client."""

    capacity_j: Annotated[Joules, Field(gt=0)]
    spread: (
        Annotated[Spread, OneOf(SPREADS, answers=ANSWERS, seam="speed_spread")] | None
    ) = None

    def capacity_of(self, seed: int, client_id: int) -> float:
        """Return a client's energy at the start of the run, in joules."""
        if self.spread is None:
            return self.capacity_j
        draw = uniform(seed, "battery", client_id)
        return self.capacity_j * self.spread.factor(draw)


def is_empty(left_j: float, capacity_j: float) -> bool:
    """Return whether the remaining energy is zero within round-off."""
    return left_j <= capacity_j * ROUND_OFF


def depletion_ns(left_j: float, power_w: float) -> int | None:
    """Return the ns until a power has used the remaining energy, None for never."""
    if not power_w:
        return None
    return max(1, math.ceil(left_j / power_w * 1e9 * (1 - ROUND_OFF)))
