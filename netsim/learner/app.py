"""The contract with an app that is a server itself: when it waits, and for what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from fl.contract import Letter, Pause
from netsim.learner.learner import Learner


class Post(Protocol):
    """The network, as an app sees it."""

    @property
    def now_ns(self) -> int:
        """Return the present tick."""

    def present(self) -> Sequence[int]:
        """Return the clients that are there now."""

    def send(self, letters: Sequence[Letter]) -> None:
        """Send letters at this tick."""

    def outcome(self, ticket: str) -> tuple[int, str] | None:
        """Return when a letter was over and how: ``done``, or why it brought nothing;
        None while it is under way."""

    def take(self, tickets: Sequence[str]) -> None:
        """Note that the app has received how letters were over."""

    def give_up(self, tickets: Sequence[str]) -> None:
        """Note that the app waits no longer for letters."""


class App(Learner, Protocol):
    """A learner whose server is an app; a job's version is its letter's ticket."""

    def resume(self, post: Post) -> Pause | None:
        """Run the app until it waits, and return for what; None when it is over."""

    def require_repeats(self) -> None:
        """Refuse, from now on, what an earlier run of the app did not do."""
