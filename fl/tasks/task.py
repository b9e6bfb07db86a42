"""The interfaces of a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from fl.tasks.tokens import Tokenizer

if TYPE_CHECKING:
    from torch import Tensor

Split = Literal["public", "train", "test"]
Objective = Literal["image-classification", "text-classification", "causal"]


class DataSet(Protocol):
    """Samples in three disjoint splits.

    ``train`` is divided among the clients, ``test`` evaluates the global model, and
    ``public`` may be used to pre-train a backbone.
    """

    @property
    def objective(self) -> Objective:
        """Return the kind of model that the task needs."""

    @property
    def num_labels(self) -> int:
        """Return the number of distinct labels, or 0 if samples have none."""

    @property
    def max_length(self) -> int:
        """Return the maximum length of a sample in tokens; 0 for images."""

    def labels(self, split: Split) -> NDArray[np.int64]:
        """Return the label of every sample of a split, or zeros if there are none."""


class Source(DataSet, Protocol):
    """A data set as configured in the scenario. No method imports torch."""

    @property
    def digest(self) -> str:
        """Return a digest of the data and of the splits."""

    def column(self, name: str) -> NDArray[np.str_]:
        """Return another column of the training samples, such as the author."""

    def corpus(self) -> list[str]:
        """Return training texts on which a tokenizer can be trained."""

    def read_by(self, tokenizer: Tokenizer | None) -> Task:
        """Return the task tokenized by a model's tokenizer; images need none."""


class Task(DataSet, Protocol):
    """A data set ready for training: texts are tokenized."""

    def batch(self, split: Split, indices: NDArray[np.int64]) -> dict[str, Tensor]:
        """Return the model's keyword arguments for these samples, with ``labels``.

        Texts are padded to the longest of the batch.
        """

    def lengths(self, split: Split, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the lengths of these samples in tokens; zeros for images."""

    def quiz(self) -> Quiz | None:
        """Return how generated answers are scored, or None if the task has none."""


class Quiz(Protocol):
    """Prompts whose answers a causal model generates, and the scoring of answers."""

    @property
    def pad_id(self) -> int:
        """Return the padding token."""

    @property
    def end_id(self) -> int:
        """Return the token that ends an answer."""

    def prompts(self, split: Split, indices: NDArray[np.int64]) -> dict[str, Tensor]:
        """Return ``input_ids`` and ``attention_mask``, padded on the left."""

    def num_right(
        self, split: Split, indices: NDArray[np.int64], answers: list[list[int]]
    ) -> int:
        """Return the number of answers, given as tokens, with the right result."""


def require_splits(task: Source) -> None:
    """Raise ``ValueError`` where a split of the data cannot be read, or has a label
    that the training split lacks."""
    for split in get_args(Split):
        task.labels(split)


def no_column(kind: str, name: str, columns: str = "none") -> ValueError:
    """Return the error for a column that the task does not have."""
    return ValueError(
        f"partition.column: task {kind!r} has no column {name!r} (it has: {columns})"
    )
