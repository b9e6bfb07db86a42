"""What an app's code sees of time, threads and sockets while it is simulated.

The clock of Python's module ``time`` is the simulated one, and a sleep of the server
takes simulated time. What cannot be timed is refused, where the app itself asks for it:
libraries may have threads and sockets of their own.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

NS_PER_S = 1_000_000_000
LIBRARY = str(Path(threading.__file__).parent)  # Python's own


class Untimed(ValueError):
    """What an app does that takes time which no simulation can know."""


@dataclass(frozen=True, slots=True)
class AppTime:
    """The clock of the code that runs now; ``sleep`` is absent where none may."""

    folder: Path  # of the app
    part: str  # that runs: the server or a client
    now_ns: Callable[[], int]
    sleep: Callable[[float], None] | None = None


_running = threading.local()


def _current() -> AppTime | None:
    found: AppTime | None = getattr(_running, "app_time", None)
    return found


@contextmanager
def running(app_time: AppTime) -> Iterator[None]:
    """Let the code of this thread see this clock."""
    before = _current()
    _running.app_time = app_time
    try:
        yield
    finally:
        _running.app_time = before


def _clock(name: str) -> Callable[[], float | int]:
    """Return a function of the module ``time`` that knows whether an app runs."""
    real: Callable[[], float | int] = getattr(time, name)

    def read() -> float | int:
        app = _current()
        if app is None:
            return real()
        now_ns = app.now_ns()
        return now_ns if name.endswith("_ns") else now_ns / NS_PER_S

    return read


CLOCKS = ("time", "monotonic", "perf_counter")
_real_sleep = time.sleep
_clocks = {name: _clock(name) for one in CLOCKS for name in (one, f"{one}_ns")}


def _sleep(seconds: float) -> None:
    app = _current()
    if app is None:
        _real_sleep(seconds)
    elif app.sleep is not None:
        app.sleep(seconds)
    elif _is_of_app(app):
        raise _untimed(app, "sleeps", "declare the time that the work takes instead")


def _guarded(owner: type, name: str, what: str) -> Callable[..., Any]:
    real: Callable[..., Any] = getattr(owner, name)

    def method(self: object, *args: object, **kwargs: object) -> Any:
        app = _current()
        if app is not None and _is_of_app(app):
            raise _untimed(app, what, "it is simulated in one thread, without a host")
        return real(self, *args, **kwargs)

    return method


def _untimed(app: AppTime, what: str, remedy: str) -> Untimed:
    return Untimed(f"the app's {app.part} {what}, which cannot be timed: {remedy}")


def _is_of_app(app: AppTime) -> bool:
    """Return whether code of the app itself is the nearest outside Python's own."""
    frame = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith((LIBRARY, "<")) or "site-packages" in file:
            return Path(file).is_relative_to(app.folder)
        frame = frame.f_back  # type: ignore[assignment]
    return False


@contextmanager
def replaced(owner: Any, values: Mapping[str, object]) -> Iterator[None]:
    """Set attributes of a module or a class, and restore what it had itself."""
    before = {name: vars(owner)[name] for name in values if name in vars(owner)}
    for name, value in values.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name in values:
            if name in before:
                setattr(owner, name, before[name])
            else:
                delattr(owner, name)


@contextmanager
def simulated_time() -> Iterator[None]:
    """Let the module ``time``, threads and sockets know whether an app runs."""
    start = _guarded(threading.Thread, "start", "starts a thread")
    connect = _guarded(socket.socket, "connect", "opens a socket")
    with (
        replaced(time, {"sleep": _sleep, **_clocks}),
        replaced(threading.Thread, {"start": start}),
        replaced(socket.socket, {"connect": connect}),
    ):
        yield


def take_sleep(module: ModuleType) -> None:
    """Let a module that has imported ``sleep`` by its name know the simulated one."""
    for name, value in vars(module).items():
        if value is _real_sleep:
            setattr(module, name, _sleep)
