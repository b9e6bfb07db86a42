"""Generated sentences of invented words, for any number of samples and labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from fl.tasks.generated import Generated, uniform
from fl.tasks.splits import spread
from fl.tasks.task import Objective, Split, Task
from fl.tasks.tokenized import TokenizedTexts
from fl.tasks.tokens import Tokenizer

SYLLABLES = tuple(c + v for c in "bdfgklmnprstvz" for v in "aeiou")


class Synthetic(Generated):
    """Sentences whose words depend on the label, generated on demand.

    With probability ``1 - difficulty`` a word is one of the label's own words,
    otherwise any word. With probability ``heterogeneity`` a user's sentence has the
    user's favourite label, otherwise any label. Partition by column ``user`` to make
    each client a user, or use another partition with ``heterogeneity: 0``.
    """

    kind: Literal["synthetic"] = "synthetic"
    objective: ClassVar[Objective] = "text-classification"
    num_labels: int = Field(default=10, ge=2)
    num_words: int = Field(default=200, ge=2, le=len(SYLLABLES) ** 2)
    min_words: int = Field(default=6, ge=1)
    max_words: int = Field(default=12, ge=1, le=512)
    difficulty: float = Field(default=0.5, ge=0, lt=1)

    @model_validator(mode="after")
    def _check_ranges(self) -> Synthetic:
        if self.num_words < self.num_labels:
            raise ValueError(
                f"num_words must be at least num_labels, got {self.num_words} and "
                f"{self.num_labels}"
            )
        if self.max_words < self.min_words:
            raise ValueError(
                f"max_words must be at least min_words, got {self.max_words} and "
                f"{self.min_words}"
            )
        return self

    @property
    def max_length(self) -> int:
        """Return the maximum length: four tokens per word and two special ones."""
        return 4 * self.max_words + 2

    def labels(self, split: Split) -> NDArray[np.int64]:
        """Return the label of every sample."""
        return self._labels(split, np.arange(self._num_samples(split)))

    def texts(self, split: Split, indices: Sequence[int]) -> list[str]:
        """Return the sentences at these indices."""
        samples = np.array(indices, dtype=np.int64)
        labels = self._labels(split, samples)[:, None]
        counters = samples[:, None] * self.max_words + np.arange(self.max_words)
        is_own, choice = (
            uniform(self.seed, f"{split} {what}", counters)
            for what in ("own word", "word")
        )
        own_words = (self.num_words - labels - 1) // self.num_labels + 1
        own = (choice * own_words).astype(np.int64) * self.num_labels + labels
        other = (choice * self.num_words).astype(np.int64)
        words = np.where(is_own < 1 - self.difficulty, own, other)
        lengths = self._num_words(split, samples)
        rows = zip(words.tolist(), lengths.tolist(), strict=True)
        return [" ".join(map(_word, row[:length])) for row, length in rows]

    def corpus(self) -> list[str]:
        """Return up to 5,000 training sentences."""
        return self.texts("train", spread(self.num_samples).tolist())

    def read_by(self, tokenizer: Tokenizer | None) -> Task:
        """Return the tokenized task."""
        assert tokenizer is not None
        return TokenizedTexts(self, tokenizer)

    def _labels(self, split: Split, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        draw = uniform(self.seed, f"{split} label", indices)
        labels = (draw * self.num_labels).astype(np.int64)
        if split == "train":
            users = self._users(indices)
            draw = uniform(self.seed, "favourite", users)
            favourite = (draw * self.num_labels).astype(np.int64)
            chance = uniform(self.seed, "train favours", indices)
            labels = np.where(chance < self.heterogeneity, favourite, labels)
        return labels

    def _num_words(self, split: Split, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        draw = uniform(self.seed, f"{split} length", indices)
        choices = self.max_words - self.min_words + 1
        return self.min_words + (draw * choices).astype(np.int64)


def _word(index: int) -> str:
    first, second = divmod(index, len(SYLLABLES))
    return SYLLABLES[second] + SYLLABLES[first]
