"""Ctrl-C, and SIGTERM with which a batch system ends its jobs."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from netsim.errors import InputError


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM interrupt like Ctrl-C; an interrupt stays one whatever a
    library makes of it on the way."""
    received: list[int] = []

    def interrupt(number: int, frame: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    is_main = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGINT, signal.SIGTERM) if is_main else ()
    before = [(number, signal.signal(number, interrupt)) for number in numbers]
    try:
        yield
    except (InputError, OSError, MemoryError):
        raise  # with a message of its own
    except (Exception, SystemExit) as error:
        cause = _interrupt_behind(error)
        if cause is None and not received:
            raise
        raise cause or KeyboardInterrupt from error
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _interrupt_behind(error: BaseException) -> KeyboardInterrupt | None:
    """Return the interrupt that became another exception, if one did."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__ or cause.__context__
    return cause
