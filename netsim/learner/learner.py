"""What the network asks of learning: numbers, tickets and digests, never a tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from netsim.trace import rows

if TYPE_CHECKING:
    from netsim.learner.evaluation_schedule import Cadence


@dataclass(frozen=True, slots=True)
class Job:
    """One client's local training, named by simulated history only."""

    client_id: int
    start_index: int  # how many jobs this client has started before
    round_id: int
    version: str  # the adapter it starts from
    rank: int | None = None


@dataclass(frozen=True, slots=True)
class Arrival:
    """A finished job on the server's desk, with its weight in the merge: of the change
    that it made, or, where it is mixed, of its model in place of the newest one's."""

    ticket: str
    weight: float
    is_mixed: bool = False


@dataclass(frozen=True, slots=True)
class Branch:
    """A version that an edge server made, with its weight in the merge of edges."""

    version: str
    weight: float


@dataclass(frozen=True, slots=True)
class LayerError:
    """How one merged layer compares with the ideal sum of products."""

    layer: str
    method: str
    num_components: int
    relative_error: float
    average_relative_error: float
    update_relative_error: float | None = None
    left_spread: float | None = None
    right_spread: float | None = None

    def row(self, round_id: int) -> rows.Merge:
        """Return this layer as a row of ``merges``."""
        return rows.Merge(
            round_id,
            self.layer,
            self.method,
            self.num_components,
            self.relative_error,
            self.average_relative_error,
            self.update_relative_error,
            self.left_spread,
            self.right_spread,
        )


@dataclass(frozen=True, slots=True)
class Merged:
    """A new adapter version and what its merge cost in accuracy, layer by layer.

    ``norms2`` are the squared norms of the arrivals' changes, in their order; nothing
    where learning does not know them. ``diverged`` says by ticket why an arrival was
    left out because of numbers that were not finite.
    """

    version: str
    layers: tuple[LayerError, ...] = ()
    scores: tuple[Score, ...] = ()  # of clients that were examined
    norms2: tuple[float | None, ...] = ()
    diverged: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Score:
    """Metrics of one version on one split; no client means the global test."""

    split: str
    num_samples: int
    loss: float
    accuracy: float
    client_id: int | None = None
    perplexity: float | None = None
    exact_match: float | None = None

    def row(self, round_id: int, phase: str, time_ns: int) -> rows.Evaluation:
        """Return this score as a row of ``evals``."""
        return rows.Evaluation(
            round_id,
            phase,
            self.client_id,
            time_ns,
            self.split,
            self.num_samples,
            self.loss,
            self.accuracy,
            self.perplexity,
            self.exact_match,
        )


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
    def cadence(self) -> Cadence:
        """Return when versions are evaluated, and which clients' own adapters."""

    @property
    def memory_bytes(self) -> int:
        """Return what local training needs on a device."""

    def memory_at(self, rank: int | None) -> int:
        """Return what local training needs on a device at that rank, in bytes."""

    def bits_down(self, job: Job, have: str | None) -> tuple[int, int]:
        """Return the bits that all clients share and those for this one alone."""

    def bits_up(self, job: Job) -> int:
        """Return the bits of the upload."""

    def flop(self, job: Job) -> int:
        """Return the floating-point operations of the local training."""

    def submit(self, job: Job) -> str:
        """Return a ticket, before the download; a merge that needs it does the work."""

    def withdraw(self, ticket: str) -> None:
        """Forget a job that will never arrive."""

    def merge(
        self, version: str, arrivals: Sequence[Arrival], examined: Sequence[str] = ()
    ) -> Merged:
        """Return the version after the arrivals; ``version`` itself without any that
        counts.

        ``examined`` are tickets whose own adapters are scored beside the merged one.
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

    def export(self, version: str, folder: Path) -> str:
        """Write a version as a PEFT checkpoint and return the digest of its numbers;
        without learning write nothing and return an empty text."""

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
