"""Tasks made of text, read by a tokenizer: labelled sentences, prompts with replies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fl.tasks.task import Objective, Quiz, Source, Split, Task
from fl.tasks.tokens import IGNORED, Memory, Tokenizer, padded, token_batch

if TYPE_CHECKING:
    from torch import Tensor


class Sentences(Source, Protocol):
    """Texts with one label each."""

    def texts(self, split: Split, indices: Sequence[int]) -> list[str]:
        """Return some samples' texts."""
        ...


class Exchange(NamedTuple):
    """A prompt, and the reply that is learned."""

    prompt: str
    reply: str


class Exchanges(Source, Protocol):
    """Prompts with replies."""

    @property
    def chat(self) -> bool:
        """Return whether a prompt is framed by the model's chat template."""
        ...

    def exchanges(self, split: Split, indices: Sequence[int]) -> list[Exchange]:
        """Return some samples' prompts and replies."""
        ...

    def result(self, reply: str) -> str:
        """Return the part of a reply that must match."""
        ...


@dataclass(frozen=True)
class _Read:
    """What a task of read texts has from its source as it is."""

    source: Source
    tokenizer: Tokenizer

    @property
    def digest(self) -> str:
        return self.source.digest

    @property
    def objective(self) -> Objective:
        return self.source.objective

    @property
    def num_labels(self) -> int:
        return self.source.num_labels

    @property
    def max_length(self) -> int:
        return self.source.max_length

    def column(self, name: str) -> NDArray[np.str_]:
        return self.source.column(name)

    def corpus(self) -> list[str]:
        return self.source.corpus()

    def read_by(self, tokenizer: Tokenizer | None) -> Task:
        return self.source.read_by(tokenizer)


@dataclass(frozen=True)
class ReadSentences(_Read):
    """Labelled texts in a model's own numbers."""

    source: Sentences
    _labels: dict[Split, NDArray[np.int64]] = field(default_factory=dict, init=False)

    def labels(self, split: Split) -> NDArray[np.int64]:
        if split not in self._labels:
            self._labels[split] = self.source.labels(split)
        return self._labels[split]

    def batch(self, split: Split, indices: NDArray[np.int64]) -> dict[str, Tensor]:
        """Return ``input_ids``, ``attention_mask`` (b, longest) and ``labels`` (b)."""
        import torch

        rows = self._memory.ask([(split, index) for index in indices.tolist()])
        return {
            **token_batch(rows, self.tokenizer.pad_id),
            "labels": torch.from_numpy(self.labels(split)[indices]),
        }

    def lengths(self, split: Split, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the tokens of some samples."""
        rows = self._memory.ask([(split, index) for index in indices.tolist()])
        return np.array([len(row) for row in rows], dtype=np.int64)

    def quiz(self) -> Quiz | None:
        return None

    @cached_property
    def _memory(self) -> Memory[tuple[Split, int], list[int]]:
        return Memory(self._encode)

    def _encode(self, keys: list[tuple[Split, int]]) -> list[list[int]]:
        split = keys[0][0]  # who asks, asks for one split
        texts = self.source.texts(split, [index for _, index in keys])
        return self.tokenizer.encode(texts, max_length=self.max_length)


@dataclass(frozen=True)
class ReadExchanges(_Read):
    """Prompts and replies in a model's own numbers; the loss counts the reply only."""

    source: Exchanges

    @property
    def pad_id(self) -> int:
        return self.tokenizer.pad_id

    @property
    def end_id(self) -> int:
        return self.tokenizer.end_id

    def labels(self, split: Split) -> NDArray[np.int64]:
        return self.source.labels(split)

    def batch(self, split: Split, indices: NDArray[np.int64]) -> dict[str, Tensor]:
        """Return ``input_ids``, ``attention_mask`` and ``labels``, all (b, longest).

        A label is the token itself (the model shifts them), -100 on prompt and padding.
        """
        import torch

        pairs = self._ask(split, indices)
        targets = [[IGNORED] * len(prompt) + reply for prompt, reply in pairs]
        return {
            **token_batch([p + r for p, r in pairs], self.pad_id),
            "labels": torch.from_numpy(padded(targets, IGNORED)),
        }

    def lengths(self, split: Split, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the tokens of some samples, prompt and reply together."""
        pairs = self._ask(split, indices)
        return np.array([len(p) + len(r) for p, r in pairs], dtype=np.int64)

    def quiz(self) -> Quiz | None:
        return self

    def prompts(self, split: Split, indices: NDArray[np.int64]) -> dict[str, Tensor]:
        """Return the prompts alone, padded on the left, where generation goes on."""
        prompts = [prompt for prompt, _ in self._ask(split, indices)]
        return token_batch(prompts, self.pad_id, left=True)

    def num_right(
        self, split: Split, indices: NDArray[np.int64], answers: list[list[int]]
    ) -> int:
        """Return how many answers end in the reply's own result."""
        wanted = self.source.exchanges(split, indices.tolist())
        found = [self.source.result(self.tokenizer.decode(a)) for a in answers]
        pairs = zip(wanted, found, strict=True)
        return sum(self.source.result(w.reply) == f for w, f in pairs)

    def _ask(
        self, split: Split, indices: NDArray[np.int64]
    ) -> list[tuple[list[int], list[int]]]:
        return self._memory.ask([(split, index) for index in indices.tolist()])

    @cached_property
    def _memory(self) -> Memory[tuple[Split, int], tuple[list[int], list[int]]]:
        return Memory(self._encode)

    def _encode(
        self, keys: list[tuple[Split, int]]
    ) -> list[tuple[list[int], list[int]]]:
        """Return prompts and replies, cut so that both together fit ``max_length``.

        A prompt that is too long loses its beginning and leaves the reply at least a
        quarter of the room.
        """
        split = keys[0][0]  # who asks, asks for one split
        exchanges = self.source.exchanges(split, [index for _, index in keys])
        chat = self.source.chat
        prompts = [e.prompt for e in exchanges]
        if chat:
            prompts = [self.tokenizer.as_chat(prompt) for prompt in prompts]
        unlimited = 1 << 20
        heads = self.tokenizer.encode(prompts, max_length=unlimited, special=not chat)
        tails = self.tokenizer.encode(
            [e.reply for e in exchanges], max_length=unlimited, special=False
        )
        ended = [[*tail, self.tokenizer.end_id] for tail in tails]
        return [self._cut(h, t) for h, t in zip(heads, ended, strict=True)]

    def _cut(self, head: list[int], tail: list[int]) -> tuple[list[int], list[int]]:
        room = max(self.max_length - len(tail), self.max_length * 3 // 4)
        head = head[-room:]
        return head, tail[: self.max_length - len(head)]
