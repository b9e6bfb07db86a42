"""A client's battery: how many joules it holds."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field

from netsim.core.quantities import Joules
from netsim.core.streams import uniform
from netsim.devices.device import SPREADS, Spread
from netsim.scenario.record import OneOf, Record

ROUND_OFF = 1e-12


class Battery(Record):
    """What every client may spend in the whole run on computing, sending and waiting
    while it takes part; ``spread`` is a factor of mean one, drawn for each client."""

    capacity_j: Annotated[Joules, Field(gt=0)]
    spread: Annotated[Spread, OneOf(SPREADS)] | None = None

    def of(self, seed: int, client_id: int) -> float:
        """Return what a client's battery holds in the beginning, in joules."""
        if self.spread is None:
            return self.capacity_j
        draw = uniform(seed, "battery", client_id)
        return self.capacity_j * self.spread.factor(draw)


def is_empty(left_j: float, capacity_j: float) -> bool:
    """Return whether nothing is left, round-off apart."""
    return left_j <= capacity_j * ROUND_OFF


def depletion_ns(left_j: float, power_w: float) -> int | None:
    """Return the tick, from now, at which a power has used up the rest; None: never."""
    if not power_w:
        return None
    return max(1, math.ceil(left_j / power_w * 1e9 * (1 - ROUND_OFF)))
