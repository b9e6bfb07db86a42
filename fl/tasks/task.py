"""What a data set must answer to be learned by a federation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from fl.tasks.tokens import Tokenizer

if TYPE_CHECKING:
    from torch import Tensor

Split = Literal["public", "train", "test"]
Objective = Literal["image-classification", "text-classification", "causal"]


class Source(Protocol):
    """A data set in three parts that share no sample, as the scenario names it.

    ``train`` is divided among the clients, ``test`` judges the global model, and
    ``public`` is what a backbone may have seen before the federation starts. None of
    its answers imports torch.
    """

    @property
    def digest(self) -> str:
        """Return a digest of the data and of their division into splits."""
        ...

    @property
    def objective(self) -> Objective:
        """Return which kind of model learns it."""
        ...

    @property
    def num_labels(self) -> int:
        """Return the number of distinct labels; 0 where samples have none."""
        ...

    @property
    def max_length(self) -> int:
        """Return the longest sample in tokens; 0 for images."""
        ...

    def labels(self, split: Split) -> NDArray[np.int64]:
        """Return the label of every sample of a split; zeros where there are none."""
        ...

    def column(self, name: str) -> NDArray[np.str_]:
        """Return another column of the training samples, such as their author."""
        ...

    def corpus(self) -> list[str]:
        """Return training texts from which a tokenizer may learn its words."""
        ...

    def read_by(self, tokenizer: Tokenizer | None) -> Task:
        """Return the task in a model's own numbers; images need no tokenizer."""
        ...


class Task(Source, Protocol):
    """A data set ready to be learned: its texts, if any, are tokens."""

    def batch(self, split: Split, indices: NDArray[np.int64]) -> dict[str, Tensor]:
        """Return the model's keyword arguments for some samples, ``labels`` included.

        Samples of unequal length are padded here, to the longest of the batch.
        """
        ...

    def lengths(self, split: Split, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the tokens of some samples; zeros for images."""
        ...

    def quiz(self) -> Quiz | None:
        """Return how answers in the model's own words are marked, if they can be."""
        ...


class Quiz(Protocol):
    """Questions whose answers a causal model writes itself, and how to mark them."""

    @property
    def pad_id(self) -> int:
        """Return the token that fills up."""
        ...

    @property
    def end_id(self) -> int:
        """Return the token that ends an answer."""
        ...

    def prompts(self, split: Split, indices: NDArray[np.int64]) -> dict[str, Tensor]:
        """Return ``input_ids`` and ``attention_mask``, padded on the left."""
        ...

    def num_right(
        self, split: Split, indices: NDArray[np.int64], answers: list[list[int]]
    ) -> int:
        """Return how many of the answers, as tokens, end in the right result."""
        ...


def no_column(kind: str, name: str, columns: str = "none") -> ValueError:
    """Return the error about a column that a task does not have."""
    return ValueError(
        f"partition.column: task {kind!r} has no column {name!r} (it has: {columns})"
    )
