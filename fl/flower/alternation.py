"""Blocking code that takes turns with the code that drives it: one of them runs."""

from __future__ import annotations

from collections.abc import Callable
from threading import Semaphore, Thread

from fl.contract import Pause

PATIENCE_S = 10.0  # for code that is given up


class GivenUp(BaseException):
    """Ends blocking code whose run is over; no ``except Exception`` stops it."""


class Alternation:
    """A function in a thread of its own, which runs only in :meth:`resume`."""

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function
        self._thread = Thread(target=self._run, daemon=True, name="server app")
        self._ours, self._theirs = Semaphore(0), Semaphore(0)
        self._pause: Pause | None = None
        self._error: BaseException | None = None
        self._is_given_up = False

    def resume(self) -> Pause | None:
        """Run the function until it pauses, and return what it waits for; None when it
        has returned. What it raised is raised here."""
        self._pause = None
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._theirs.release()
        self._ours.acquire()
        if self._error is not None:
            raise self._error
        return self._pause

    def pause(self, pause: Pause) -> None:
        """Let the driver go on, until it resumes; called by the function."""
        if not self._is_given_up:
            self._pause = pause
            self._ours.release()
            self._theirs.acquire()
        if self._is_given_up:
            raise GivenUp

    def close(self) -> None:
        """End the function at its next pause, if it has not returned."""
        self._is_given_up = True
        if self._thread.is_alive():
            self._theirs.release()
            self._thread.join(PATIENCE_S)

    def _run(self) -> None:
        try:
            self._function()
        except GivenUp:
            return
        except BaseException as error:  # SystemExit too: it is the app's, not ours
            self._error = error
        self._pause = None
        self._ours.release()
