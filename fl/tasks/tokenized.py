"""Tokenized tasks: labelled texts, and prompts with replies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from fl.tasks.task import Objective, Quiz, Source, Split
from fl.tasks.tokens import IGNORED, Tokenizer, padded, token_batch

if TYPE_CHECKING:
    from torch import Tensor

MAX_CACHED = 200_000
Encoded = TypeVar("Encoded")  # a sample's tokens


class LabelledTexts(Source, Protocol):
    """Texts with one label each."""

    def texts(self, split: Split, indices: Sequence[int]) -> list[str]:
        """Return the texts at these indices."""


class PromptReply(NamedTuple):
    """A prompt and the reply to learn."""

    prompt: str
    reply: str


class PromptSource(Source, Protocol):
    """Prompts with replies."""

    @property
    def chat(self) -> bool:
        """Return whether prompts use the model's chat template."""

    def prompt_replies(self, split: Split, indices: Sequence[int]) -> list[PromptReply]:
        """Return the prompts and replies at these indices."""

    def result(self, reply: str) -> str:
        """Return the part of a reply that is compared."""


@dataclass(frozen=True)
class _Tokenized(Generic[Encoded]):
    """What a tokenized task takes over from its source, and its samples as tokens."""

    source: Source
    tokenizer: Tokenizer
    _known: dict[tuple[Split, int], Encoded] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def objective(self) -> Objective:
        return self.source.objective

    @property
    def num_labels(self) -> int:
        return self.source.num_labels

    @property
    def max_length(self) -> int:
        return self.source.max_length

    def _encode(self, split: Split, indices: list[int]) -> list[Encoded]:
        raise NotImplementedError

    def _encoded(self, split: Split, indices: NDArray[np.int64]) -> list[Encoded]:
        """Return samples as tokens, which are kept; those missing take one call."""
        keys = [(split, index) for index in indices.tolist()]
        missing = [key for key in dict.fromkeys(keys) if key not in self._known]
        if len(self._known) + len(missing) > MAX_CACHED:
            self._known.clear()
            missing = list(dict.fromkeys(keys))
        if missing:
            made = self._encode(split, [index for _, index in missing])
            self._known.update(zip(missing, made, strict=True))
        return [self._known[key] for key in keys]


@dataclass(frozen=True)
class TokenizedTexts(_Tokenized[list[int]]):
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

        rows = self._encoded(split, indices)
        return {
            **token_batch(rows, self.tokenizer.pad_id),
            "labels": torch.from_numpy(self.labels(split)[indices]),
        }

    def lengths(self, split: Split, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the lengths of these samples in tokens."""
        rows = self._encoded(split, indices)
        return np.array([len(row) for row in rows], dtype=np.int64)

    def quiz(self) -> Quiz | None:
        return None

    def _encode(self, split: Split, indices: list[int]) -> list[list[int]]:
        texts = self.source.texts(split, indices)
        return self.tokenizer.encode(texts, max_length=self.max_length)


@dataclass(frozen=True)
class TokenizedPrompts(_Tokenized[tuple[list[int], list[int]]]):
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

        pairs = self._encoded(split, indices)
        targets = [[IGNORED] * len(prompt) + reply for prompt, reply in pairs]
        return {
            **token_batch([p + r for p, r in pairs], self.pad_id),
            "labels": torch.from_numpy(padded(targets, IGNORED)),
        }

    def lengths(self, split: Split, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the lengths in tokens, prompt and reply together."""
        pairs = self._encoded(split, indices)
        return np.array([len(p) + len(r) for p, r in pairs], dtype=np.int64)

    def quiz(self) -> Quiz | None:
        return self

    def prompts(self, split: Split, indices: NDArray[np.int64]) -> dict[str, Tensor]:
        """Return the prompts, padded on the left so that generation can continue."""
        prompts = [prompt for prompt, _ in self._encoded(split, indices)]
        return token_batch(prompts, self.pad_id, left=True)

    def num_right(
        self, split: Split, indices: NDArray[np.int64], answers: list[list[int]]
    ) -> int:
        """Return the number of answers with the same result as the reply."""
        wanted = self.source.prompt_replies(split, indices.tolist())
        found = [self.source.result(self.tokenizer.decode(a)) for a in answers]
        pairs = zip(wanted, found, strict=True)
        return sum(self.source.result(w.reply) == f for w, f in pairs)

    def _encode(
        self, split: Split, indices: list[int]
    ) -> list[tuple[list[int], list[int]]]:
        """Return prompts and replies, cut to ``max_length`` together.

        A long prompt loses its beginning, and at most three quarters are left to it.
        """
        pairs = self.source.prompt_replies(split, indices)
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
