"""What a data set must answer to be learned by a federation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Split = Literal["public", "train", "test"]


class Task(Protocol):
    """A labelled data set in three parts that share no sample.

    ``train`` is divided among the clients, ``test`` judges the global model, and
    ``public`` is what a backbone may have seen before the federation starts.
    """

    @property
    def digest(self) -> str:
        """Return a digest of the data and of their division into splits."""
        ...

    @property
    def num_labels(self) -> int:
        """Return the number of distinct labels."""
        ...

    def labels(self, split: Split) -> NDArray[np.int64]:
        """Return the label of every sample of a split, without importing torch."""
        ...

    def batch(self, split: Split, indices: NDArray[np.int64]) -> dict[str, Tensor]:
        """Return the model's keyword arguments for some samples, ``labels`` included.

        Samples of unequal length are padded here, to the longest of the batch.
        """
        ...
