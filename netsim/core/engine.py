"""The engine: SimPy on an integer clock, with events that fire last in their tick."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import simpy

BANDS: Final = 2  # after all ordinary events: a band is divided once per tick
DEADLINES: Final = 3  # after the bands: an end at the deadline's tick is in time
DEPARTURES: Final = 4  # last: a client that ends at the tick it leaves is in time


class Engine(simpy.Environment):
    """A SimPy environment whose clock counts nanoseconds from zero."""

    if TYPE_CHECKING:  # SimPy declares a float; at run time it keeps our int

        @property
        def now(self) -> int:
            """Return the present tick in nanoseconds."""


class StrictEngine(Engine):
    """An engine that refuses a delay that is no whole number of nanoseconds; for runs
    with a user's own classes."""

    def schedule(
        self,
        event: simpy.Event,
        priority: int = 1,
        delay: float = 0,
    ) -> None:
        """Schedule an event after ``delay`` nanoseconds."""
        if not isinstance(delay, int):
            raise ValueError(
                f"a delay must be a whole number of nanoseconds, got {delay!r}"
            )
        super().schedule(event, priority, delay)  # type: ignore[arg-type]


class Wake(simpy.Event):
    """An event in ``delay_ns`` that fires after the tick's events of smaller
    ``priority``."""

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


class Alarm:
    """The next wake-up of one owner, which may be moved.

    An event cannot be taken back: one that another tick has replaced still fires, and
    is ignored.
    """

    def __init__(
        self, engine: Engine, priority: int, callback: Callable[[], None]
    ) -> None:
        self._engine = engine
        self._priority = priority
        self._callback = callback
        self._wake: Wake | None = None
        self._tick_ns = 0

    def set(self, tick_ns: int) -> None:
        """Wake the owner at this tick, and no longer at the one set before."""
        if self._wake is None or self._tick_ns != tick_ns:
            delay_ns = tick_ns - self._engine.now
            self._wake = Wake(self._engine, delay_ns, self._priority, self._ring)
            self._tick_ns = tick_ns

    def _ring(self, event: simpy.Event) -> None:
        if event is self._wake:
            self._wake = None
            self._callback()


@contextmanager
def rare_garbage_collection() -> Iterator[None]:
    """Collect garbage rarely: a trace has many live rows without reference cycles."""
    before = gc.get_threshold()
    gc.set_threshold(200_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
