"""Events that fire at the end of a tick, after everything else of that tick."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import simpy

BANDS: Final = 2  # after every ordinary event: a band divides itself once per tick
DEADLINES: Final = 3  # after the bands: who ends at the deadline's tick is in time


class Wake(simpy.Event):
    """An event ``delay_ns`` from now that yields to all events of lower priority."""

    def __init__(
        self,
        env: simpy.Environment,
        delay_ns: int,
        priority: int,
        callback: Callable[[simpy.Event], None] | None = None,
    ) -> None:
        self.env = env
        self.callbacks = [] if callback is None else [callback]
        self._ok = True
        self._value = None
        env.schedule(self, priority, delay_ns)
