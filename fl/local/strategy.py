"""How clients train, as a strategy: what it is given, and what it declares.

A strategy trains a whole cohort at once: one row of numbers per client, those with the
most steps first. It is told nothing of bits, ranks or the order of clients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fl.tasks import Task

if TYPE_CHECKING:
    from torch import Tensor, nn

Samples: TypeAlias = NDArray[np.int64]
Draw: TypeAlias = Callable[[Samples, int, np.random.Generator], Iterator[Samples]]
Loss: TypeAlias = "Callable[[Tensor, Tensor, Tensor], Tensor]"

# Returns what a server sends next besides the model: from what it sent last, what came
# back, and the part of all data that each of these clients has.
Join: TypeAlias = "Callable[[Tensor, Sequence[Tensor], Sequence[float]], Tensor]"

# Returns the epsilon of a client with so many samples, of which a step asks for so
# many, after so many steps.
Spent: TypeAlias = Callable[[int, int, int], float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Demands:
    """What a strategy needs beside the model, and what does not go with it."""

    keeps: bool = False  # a client keeps a row from one participation to the next
    shares: Join | None = None  # the server sends a row with the model, and gets others
    spent: Spent | None = None  # the epsilon, where an accountant is asked for it
    lacks: str = ""  # what has to be installed for it
    hides_losses: bool = False  # the loss of the mini-batches stays with the client
    optimisers: tuple[Literal["sgd", "momentum", "adamw"], ...] = ()  # none: all
    one_rank: bool = False  # all clients train the whole adapter
    is_alone: bool = False  # it trains one client at a time, through PEFT's own layers


PLAIN = Demands()


class Step(Protocol):
    """One local step of the clients that are still at work: the cohort's first rows."""

    values: Tensor  # [clients, numbers], to be changed in place
    rates: Tensor  # [clients, 1], by the schedule of learning rates

    @property
    def sizes(self) -> Tensor:
        """Return the samples that the settings ask for, at most all, [clients, 1]."""

    def gradients(self, loss: Loss | None = None) -> Tensor:
        """Return the gradient of each client's mean loss over its mini-batches,
        [clients, numbers], not clipped; the next step's take its place.
        ``loss(logits, labels, num_items)`` returns each client's loss; by default cross
        entropy."""

    def clipped_sum(self, max_norm: float) -> Tensor:
        """Return, for each client, the sum of the gradients of its samples, each scaled
        to at most this norm; the next step's take its place."""

    def noise(self) -> Tensor:
        """Return standard normal numbers for each client's row, of its own stream."""

    def descend(self, gradients: Tensor) -> None:
        """Clip the gradients and take a step of the optimiser, as the settings have
        both."""


class Alone(Protocol):
    """One client whose adapter is in PEFT's own layers until the next one's turn."""

    client_id: int
    start_index: int
    model: nn.Module  # PEFT's; what it has when the next client comes is trained
    task: Task
    samples: Samples
    steps: int
    seed: int  # of this participation
    loss: float | None  # to be set: the mean over the mini-batches


class Cohort(Protocol):
    """Clients that train together, one row of numbers each."""

    values: Tensor  # [clients, numbers]: what is trained, at first as received
    kept: Tensor  # [clients, numbers]: what each kept; zeros at first; may be replaced
    shared: Tensor  # [clients, numbers]: what the server sent; zeros at first
    sent: Tensor  # [clients, numbers]: what goes back besides; to be replaced
    rates: Tensor  # [clients, 1]: the sum of the learning rates of a client's steps

    def steps(self, draw: Draw | None = None) -> Iterator[Step]:
        """Yield the steps in order. ``draw(samples, size, rng)`` yields the samples of
        each; by default ``size`` of them, in consecutive shuffled epochs."""

    def one_by_one(self) -> Iterator[Alone]:
        """Yield the clients, each with its whole adapter in the PEFT model, for a
        strategy whose ``demands`` are ``is_alone``."""


class LocalTraining(Protocol):
    """What a client does between download and upload."""

    @property
    def kind(self) -> str:
        """Return the name used in scenarios."""

    @property
    def demands(self) -> Demands:
        """Return what it needs beside the model, under the present settings."""

    def train(self, cohort: Cohort) -> None:
        """Change ``cohort.values`` to what is uploaded."""
