"""The engine: SimPy on an integer clock, with events that fire last in their tick."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from heapq import heappush
from typing import TYPE_CHECKING, Final

import simpy

BANDS: Final = 2  # after all ordinary events: a band is divided once per tick
DEADLINES: Final = 3  # after the bands: an end at the deadline's tick is in time
DEPARTURES: Final = 4  # last: a client that ends at the tick it leaves is in time


class Engine(simpy.Environment):
    """A SimPy environment whose clock counts nanoseconds from zero."""

    __slots__ = ("_now",)

    if TYPE_CHECKING:  # SimPy declares a float; at run time it keeps our int

        @property
        def now(self) -> int:
            """Return the present tick in nanoseconds."""

    def schedule_at(self, event: Ring, priority: int, tick_ns: int) -> None:
        """Schedule an event at a tick."""
        heappush(self._queue, (tick_ns, priority, next(self._eid), event))  # type: ignore[misc]

    def has_more_now(self) -> bool:
        """Return whether another event is due at this tick."""
        queue = self._queue
        return bool(queue) and queue[0][0] == self._now


if not TYPE_CHECKING:
    Engine.now = Engine._now  # a slot is read eight times as fast as SimPy's property


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
        _check_whole(delay)
        super().schedule(event, priority, delay)  # type: ignore[arg-type]

    def schedule_at(self, event: Ring, priority: int, tick_ns: int) -> None:
        """Schedule an event at a tick."""
        _check_whole(tick_ns)
        super().schedule_at(event, priority, tick_ns)


def _check_whole(ticks: float) -> None:
    if not isinstance(ticks, int):
        raise ValueError(
            f"a delay must be a whole number of nanoseconds, got {ticks!r}"
        )


class Wake(simpy.Event):
    """An event in ``delay_ns`` that fires after the tick's events of smaller
    ``priority``."""

    def __init__(
        self,
        engine: Engine,
        delay_ns: int,
        priority: int,
    ) -> None:
        self.env = engine
        self.callbacks = []
        self._ok = True
        self._value = None
        engine.schedule(self, priority, delay_ns)  # type: ignore[arg-type]


class Ring:
    """The part of an event that SimPy fires; no process waits for it."""

    __slots__ = ("callbacks",)
    _ok = True

    def __init__(self, callbacks: Sequence[Callable[[Ring], None]]) -> None:
        self.callbacks = callbacks


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
        self._callbacks = [self._fire]
        self._ring: Ring | None = None
        self._tick_ns = 0

    def set(self, tick_ns: int) -> None:
        """Wake the owner at this tick, and no longer at the one set before."""
        if self._ring is None or self._tick_ns != tick_ns:
            self._ring = ring = Ring(self._callbacks)
            self._engine.schedule_at(ring, self._priority, tick_ns)
            self._tick_ns = tick_ns

    def _fire(self, ring: Ring) -> None:
        if ring is self._ring:
            self._ring = None
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
