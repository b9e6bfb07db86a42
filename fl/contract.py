"""What crosses between the simulated network and learning: plain frozen records, and
the network as an app sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol, TypeAlias, get_args

Metric: TypeAlias = Literal["accuracy", "loss", "perplexity", "exact_match"]
METRICS: tuple[str, ...] = get_args(Metric)
SHARES = frozenset({"accuracy", "exact_match"})  # of right answers, in 0 to 1
FALLING_METRICS = frozenset({"loss", "perplexity"})  # a level is reached from above


@dataclass(frozen=True, slots=True)
class Job:
    """One client's local training, named by simulated history only."""

    client_id: int
    start_index: int  # how many jobs this client has started before
    round_id: int
    version: str  # the adapter that the client is sent
    rank: int | None = None  # None: the adapter's
    steps: int | None = None  # None: ``training.local_steps``
    state: str | None = None  # the job that the client continues from: learning's own
    after_round_id: int = 0  # the last round before its phase

    @property
    def turn(self) -> int:
        """Return the number of its round within the phase, from one."""
        return self.round_id - self.after_round_id


@dataclass(frozen=True, slots=True)
class Arrival:
    """A finished job at the server, with its weight in the merge: of the change that it
    made, or, where it is mixed, of its model in place of the newest one's."""

    ticket: str
    weight: float
    is_mixed: bool = False


@dataclass(frozen=True, slots=True)
class Branch:
    """A version that an edge server made, with its weight in the merge of edges."""

    version: str
    weight: float


@dataclass(frozen=True, slots=True)
class Work:
    """What a participation computes: the FLOP of matrix products, those among them that
    give 16-bit numbers, the bytes that these and all other operations read and write,
    the operations, the blocks of 32 rows of batched 16-bit products such as those of
    attention, the bytes of results above 32 MiB, the optimiser steps, and time that a
    scenario declares."""

    flop: int
    half_flop: int = 0
    product_bytes: int = 0
    other_bytes: int = 0
    operations: int = 0
    blocks: int = 0
    large_bytes: int = 0
    steps: int = 0
    declared_ns: int = 0  # besides, the same on every device


NOTHING = Work(0)


class LayerError(NamedTuple):
    """How one merged layer compares with the ideal sum of products."""

    layer: str
    method: str
    num_components: int
    relative_error: float
    average_relative_error: float  # of plain factor averaging on the same updates
    update_relative_error: float | None = None  # relative to the round's own update
    left_spread: float | None = None
    right_spread: float | None = None


class Score(NamedTuple):
    """Metrics of one version on one split; no client means the global test.

    For a causal model ``loss`` is the mean of its answers' tokens and ``accuracy`` the
    share of the right tokens; ``perplexity`` is then ``exp(loss)``, and ``exact_match``
    the share of right answers, where it was asked to write them.
    """

    split: str
    num_samples: int
    loss: float
    accuracy: float
    perplexity: float | None = None
    exact_match: float | None = None
    client_id: int | None = None


@dataclass(frozen=True, slots=True)
class Merged:
    """A new adapter version and what its merge cost in accuracy, layer by layer.

    ``norms2`` are the squared norms of the arrivals' changes, in their order, and
    ``sum_norm2`` that of their weighted sum, ``losses`` the mean loss over each one's
    mini-batches; nothing where learning does not know them.
    ``diverged`` gives, by ticket, the reason why an arrival was left out because of
    numbers that were not finite.
    """

    version: str
    layers: tuple[LayerError, ...] = ()
    scores: tuple[Score, ...] = ()  # of clients that were examined
    norms2: tuple[float | None, ...] = ()
    diverged: Mapping[str, str] = field(default_factory=dict)
    sum_norm2: float | None = None
    losses: tuple[float | None, ...] = ()
    epsilons: tuple[float, ...] = ()  # that the arrivals' clients have spent


@dataclass(frozen=True, slots=True)
class Letter:
    """A message that an app sends to a client, and expects an answer to."""

    ticket: str
    client_id: int
    kind: str  # what is asked of the client


@dataclass(frozen=True, slots=True)
class Pause:
    """What an app waits for: the ends of all these letters, or a tick."""

    tickets: tuple[str, ...] = ()
    until_ns: int | None = None


class Post(Protocol):
    """The network, as an app that is a server itself sees it."""

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
