"""Tokenized tasks: labelled texts, and prompts with replies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fl.tasks.task import Objective, Quiz, Source, Split
from fl.tasks.tokens import IGNORED, SampleCache, Tokenizer, padded, token_batch

if TYPE_CHECKING:
    from torch import Tensor


class LabelledTexts(Source, Protocol):
    """Texts with one label each."""

    def texts(self, split: Split, indices: Sequence[int]) -> list[str]:
        """Return the texts at these indices."""
        ...


class PromptReply(NamedTuple):
    """A prompt and the reply to learn."""

    prompt: str
    reply: str


class PromptSource(Source, Protocol):
    """Prompts with replies."""

    @property
    def chat(self) -> bool:
        """Return whether prompts use the model's chat template."""
        ...

    def prompt_replies(self, split: Split, indices: Sequence[int]) -> list[PromptReply]:
        """Return the prompts and replies at these indices."""
        ...

    def result(self, reply: str) -> str:
        """Return the part of a reply that is compared."""
        ...


@dataclass(frozen=True)
class _Tokenized:
    """What a tokenized task takes over from its source."""

    source: Source
    tokenizer: Tokenizer

    @property
    def objective(self) -> Objective:
        return self.source.objective

    @property
    def num_labels(self) -> int:
        return self.source.num_labels

    @property
    def max_length(self) -> int:
        return self.source.max_length


@dataclass(frozen=True)
class TokenizedTexts(_Tokenized):
    """Labelled texts as token ids."""

    source: LabelledTexts
    _labels: dict[Split, NDArray[np.int64]] = field(default_factory=dict, init=False)

    def labels(self, split: Split) -> NDArray[np.int64]:
        if split not in self._labels:
            self._labels[split] = self.source.labels(split)
        return self._labels[split]

    def batch(self, split: Split, indices: NDArray[np.int64]) -> dict[str, Tensor]:
        """Return ``input_ids``, ``attention_mask`` (b, longest) and ``labels`` (b)."""
        import torch

        rows = self._cache.values([(split, index) for index in indices.tolist()])
        return {
            **token_batch(rows, self.tokenizer.pad_id),
            "labels": torch.from_numpy(self.labels(split)[indices]),
        }

    def lengths(self, split: Split, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the lengths of these samples in tokens."""
        rows = self._cache.values([(split, index) for index in indices.tolist()])
        return np.array([len(row) for row in rows], dtype=np.int64)

    def quiz(self) -> Quiz | None:
        return None

    @cached_property
    def _cache(self) -> SampleCache[tuple[Split, int], list[int]]:
        return SampleCache(self._encode)

    def _encode(self, keys: list[tuple[Split, int]]) -> list[list[int]]:
        split = keys[0][0]  # one call is about one split
        texts = self.source.texts(split, [index for _, index in keys])
        return self.tokenizer.encode(texts, max_length=self.max_length)


@dataclass(frozen=True)
class TokenizedPrompts(_Tokenized):
    """Prompts and replies as token ids; the loss covers the reply only."""

    source: PromptSource

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

        Labels are the tokens (the model shifts them), and -100 on prompt and padding.
        """
        import torch

        pairs = self._pairs(split, indices)
        targets = [[IGNORED] * len(prompt) + reply for prompt, reply in pairs]
        return {
            **token_batch([p + r for p, r in pairs], self.pad_id),
            "labels": torch.from_numpy(padded(targets, IGNORED)),
        }

    def lengths(self, split: Split, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the lengths in tokens, prompt and reply together."""
        pairs = self._pairs(split, indices)
        return np.array([len(p) + len(r) for p, r in pairs], dtype=np.int64)

    def quiz(self) -> Quiz | None:
        return self

    def prompts(self, split: Split, indices: NDArray[np.int64]) -> dict[str, Tensor]:
        """Return the prompts, padded on the left so that generation can continue."""
        prompts = [prompt for prompt, _ in self._pairs(split, indices)]
        return token_batch(prompts, self.pad_id, left=True)

    def num_right(
        self, split: Split, indices: NDArray[np.int64], answers: list[list[int]]
    ) -> int:
        """Return the number of answers with the same result as the reply."""
        wanted = self.source.prompt_replies(split, indices.tolist())
        found = [self.source.result(self.tokenizer.decode(a)) for a in answers]
        pairs = zip(wanted, found, strict=True)
        return sum(self.source.result(w.reply) == f for w, f in pairs)

    def _pairs(
        self, split: Split, indices: NDArray[np.int64]
    ) -> list[tuple[list[int], list[int]]]:
        return self._cache.values([(split, index) for index in indices.tolist()])

    @cached_property
    def _cache(self) -> SampleCache[tuple[Split, int], tuple[list[int], list[int]]]:
        return SampleCache(self._encode)

    def _encode(
        self, keys: list[tuple[Split, int]]
    ) -> list[tuple[list[int], list[int]]]:
        """Return prompts and replies, cut to ``max_length`` together.

        A long prompt loses its beginning, and at most three quarters are left to it.
        """
        split = keys[0][0]  # one call is about one split
        pairs = self.source.prompt_replies(split, [index for _, index in keys])
        chat = self.source.chat
        prompts = [e.prompt for e in pairs]
        if chat:
            prompts = [self.tokenizer.as_chat(prompt) for prompt in prompts]
        unlimited = 1 << 20
        heads = self.tokenizer.encode(prompts, max_length=unlimited, special=not chat)
        tails = self.tokenizer.encode(
            [e.reply for e in pairs], max_length=unlimited, special=False
        )
        ended = [[*tail, self.tokenizer.end_id] for tail in tails]
        return [self._cut(h, t) for h, t in zip(heads, ended, strict=True)]

    def _cut(self, head: list[int], tail: list[int]) -> tuple[list[int], list[int]]:
        room = max(self.max_length - len(tail), self.max_length * 3 // 4)
        head = head[-room:]
        return head, tail[: self.max_length - len(head)]
