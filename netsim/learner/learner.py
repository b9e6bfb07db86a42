"""What the network asks of learning: numbers, tickets and digests, never a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from fl.contract import Arrival, Branch, Job, Merged, Score, Work
from netsim.learner.evaluation_schedule import EvaluationSchedule


class Learner(Protocol):
    """The learning half, as the network sees it."""

    @property
    def initial_version(self) -> str:
        """Return the version that every client starts from."""

    @property
    def num_samples(self) -> Sequence[int]:
        """Return how many samples each client holds."""

    @property
    def rank(self) -> int | None:
        """Return the rank of the adapter that a client trains, if it trains one."""

    @property
    def schedule(self) -> EvaluationSchedule:
        """Return when versions are evaluated, and which clients' own adapters."""

    def memory_at(self, rank: int | None) -> int:
        """Return what local training needs on a device at that rank, in bytes."""

    def bits_down(self, job: Job, have: str | None) -> tuple[int, int]:
        """Return the bits that all clients share and those for this one alone."""

    def bits_up(self, job: Job) -> int:
        """Return the bits of the upload."""

    def work(self, job: Job) -> Work:
        """Return what the local training computes."""

    def submit(self, job: Job) -> str:
        """Return a ticket, before the download; a merge that needs it does the work."""

    def withdraw(self, ticket: str) -> None:
        """Forget a job that will never arrive."""

    def merge(
        self, version: str, arrivals: Sequence[Arrival], examined: Sequence[str] = ()
    ) -> Merged:
        """Return the version after the arrivals; ``version`` itself without any that
        counts.

        ``examined`` are tickets whose own adapters are scored too.
        """

    def hold(self, versions: Sequence[str]) -> None:
        """Keep versions that are in force side by side, until the next call."""

    def join(
        self, version: str, branches: Sequence[Branch], *, round_id: int
    ) -> Merged:
        """Return the version after the branches, held versions that were all made of
        ``version``, ``round_id`` being the last round of theirs."""

    def evaluate(self, version: str) -> Sequence[Score]:
        """Return the metrics of a version, one row each."""

    def export(self, version: str, folder: Path, *, with_base: bool = False) -> str:
        """Write a version as a PEFT checkpoint, with a copy of its base model where
        that is asked for, and return the digest of its numbers; without learning write
        nothing and return an empty text."""

    def close(self) -> None:
        """Let go of what the run needed no longer than itself, such as workers."""

    @property
    def steps_trained(self) -> int:
        """Return how many local steps were computed so far."""

    @property
    def steps_reused(self) -> int:
        """Return how many local steps were remembered from earlier runs."""


def first_job(learner: Learner) -> Job:
    """Return a job that any client may be the first to have."""
    return Job(0, 0, 1, learner.initial_version, learner.rank)
