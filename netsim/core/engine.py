"""The engine: SimPy on an integer clock, and events that come last in their tick."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import simpy

BANDS: Final = 2  # after every ordinary event: a band divides itself once per tick
DEADLINES: Final = 3  # after the bands: who ends at the deadline's tick is in time
DEPARTURES: Final = 4  # last: who ends at the tick at which it leaves is in time


class Engine(simpy.Environment):
    """A SimPy environment whose clock counts nanoseconds from zero."""

    if TYPE_CHECKING:  # at run time SimPy's own, which keeps the int it was given

        @property
        def now(self) -> int:
            """Return the present tick in nanoseconds."""


class Wake(simpy.Event):
    """An event ``delay_ns`` from now that yields to all events of lower priority."""

    def __init__(
        self,
        engine: Engine,
        delay_ns: int,
        priority: int,
        callback: Callable[[simpy.Event], None] | None = None,
    ) -> None:
        self.env = engine
        self.callbacks = [] if callback is None else [callback]
        self._ok = True
        self._value = None
        engine.schedule(self, priority, delay_ns)  # type: ignore[arg-type]


@contextmanager
def rare_garbage_collection() -> Iterator[None]:
    """Look for cycles rarely: a trace's rows are many, live and free of cycles."""
    before = gc.get_threshold()
    gc.set_threshold(200_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
