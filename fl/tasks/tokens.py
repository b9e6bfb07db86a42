"""The interface of a tokenizer, and padded batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

IGNORED = -100  # the label that losses ignore, as in transformers


class Tokenizer(Protocol):
    """Converts texts to token ids and back."""

    @property
    def digest(self) -> str:
        """Return a digest of all that determines token ids, without importing torch."""

    @property
    def pad_id(self) -> int:
        """Return the id of the padding token."""

    @property
    def end_id(self) -> int:
        """Return the id of the token that ends a text."""

    def encode(
        self, texts: Sequence[str], *, max_length: int, special: bool = True
    ) -> list[list[int]]:
        """Return the token ids of each text, cut to ``max_length``.

        ``special`` adds the tokens that the model expects around a text.
        """

    def decode(self, numbers: Sequence[int]) -> str:
        """Return the text, without special tokens."""

    def save(self, folder: Path, *, max_length: int) -> None:
        """Write the tokenizer's files into a model's folder."""

    def as_chat(self, prompt: str) -> str:
        """Return a user's message in the model's chat template."""


def padded(
    rows: Sequence[Sequence[int]], filler: int, *, left: bool = False
) -> NDArray[np.int64]:
    """Return the rows as a matrix, padded to the longest row."""
    table = np.full((len(rows), max(map(len, rows))), filler, dtype=np.int64)
    for line, row in zip(table, rows, strict=True):
        if left:
            line[len(line) - len(row) :] = row
        else:
            line[: len(row)] = row
    return table


def token_batch(
    rows: Sequence[Sequence[int]], pad_id: int, *, left: bool = False
) -> dict[str, Tensor]:
    """Return ``input_ids`` and ``attention_mask`` of tokenized samples."""
    import torch

    ones = [[1] * len(row) for row in rows]
    return {
        "input_ids": torch.from_numpy(padded(rows, pad_id, left=left)),
        "attention_mask": torch.from_numpy(padded(ones, 0, left=left)),
    }


def text_lengths(batch: Mapping[str, Tensor]) -> NDArray[np.int64] | None:
    """Return the length of each text without padding, or None if it is unknown.

    It is known if all zeros of the attention mask are at the end and have no labels.
    """
    if "input_ids" not in batch or "attention_mask" not in batch:
        return None
    used = batch["attention_mask"].cpu().numpy() != 0
    labels = batch["labels"].cpu().numpy()
    if labels.ndim == 2 and ((labels != IGNORED) & ~used).any():
        return None
    lengths: NDArray[np.int64] = used.sum(1)
    if (
        used.ndim != 2
        or not (used == (np.arange(used.shape[1]) < lengths[:, None])).all()
    ):
        return None
    return np.maximum(lengths, 1)
