"""The contract with an app that is a server itself: when it waits, and for what."""

from __future__ import annotations

from typing import Protocol

from fl.contract import Pause, Post
from netsim.learner.learner import Learner


class App(Learner, Protocol):
    """A learner whose server is an app; a job's version is its letter's ticket."""

    def resume(self, post: Post) -> Pause | None:
        """Run the app until it waits, and return for what; None when it is over."""

    def require_repeats(self) -> None:
        """Refuse, from now on, what an earlier run of the app did not do."""
