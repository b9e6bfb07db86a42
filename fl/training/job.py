"""What a client is given to train, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fl.model.adapters import Adapter
from fl.model.payload import PartName
from fl.model.sketch import Sketch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalJob:
    """One participation: a client, the adapter it received, and its samples."""

    client_id: int
    start_index: int
    steps: int
    start: Adapter
    samples: NDArray[np.int64]
    sketch: Sketch | None = None  # None: all of the adapter is trained
    batch_size: int | None = None  # None: per_device_train_batch_size
    trains: tuple[PartName, ...] = ("A", "B")  # the other factor is frozen
    kept: Tensor | None = None  # by the client, for its local training
    shared: Tensor | None = None  # by the server, the same

    def __post_init__(self) -> None:
        assert self.sketch is None or (self.sketch.full_rank == self.start.layout.rank)

    @property
    def rank(self) -> int:
        """Return the rank that the client trains."""
        return self.start.layout.rank if self.sketch is None else self.sketch.rank


@dataclass(frozen=True, slots=True)
class Trained:
    """The adapter after local training, and the mean loss over its mini-batches, where
    it is told; what the local training keeps with the client, and sends besides."""

    adapter: Adapter
    loss: float | None
    kept: Tensor | None = None
    sent: Tensor | None = None


@dataclass(eq=False)
class Diverged(ArithmeticError):
    """A client's loss or adapter is no longer finite, at a local step."""

    client_id: int
    start_index: int
    step: int

    def __str__(self) -> str:
        return (
            f"client {self.client_id}, start {self.start_index}: loss or adapter not "
            f"finite at local step {self.step}; lower training.learning_rate or set "
            "training.max_grad_norm"
        )
