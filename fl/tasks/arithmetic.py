"""Generated sums such as ``27+45=`` for a causal language model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fl.streams import stream
from fl.tasks.generated import Generated, uniform
from fl.tasks.splits import spread
from fl.tasks.task import Objective, Split, Task
from fl.tasks.tokenized import PromptReply, TokenizedPrompts
from fl.tasks.tokens import Tokenizer

NUM_RANGES = 10


class Arithmetic(Generated):
    """Sums of two numbers of up to ``num_digits`` digits, scored by exact match.

    20 % of all pairs are for the test and 20 % are public; no pair is in two splits.
    With probability ``heterogeneity`` a user's first number comes from the user's own
    tenth of the range. Partition by column ``user`` to make each client a user.
    """

    kind: Literal["arithmetic"] = "arithmetic"
    objective: ClassVar[Objective] = "causal"
    num_labels: ClassVar = 0  # answers are texts
    chat: ClassVar = False
    num_test: int = Field(default=500, ge=1)
    num_digits: int = Field(default=2, ge=1, le=3)

    @property
    def max_length(self) -> int:
        """Return the maximum length in tokens: one per character, and three more."""
        return 3 * self.num_digits + 6

    def labels(self, split: Split) -> NDArray[np.int64]:
        """Return a zero for every sample."""
        return np.zeros(self._num_samples(split), dtype=np.int64)

    def prompt_replies(self, split: Split, indices: Sequence[int]) -> list[PromptReply]:
        """Return the sums at these indices, with their results."""
        pairs = self._pairs(split, np.array(indices, dtype=np.int64)).tolist()
        return [PromptReply(f"{a}+{b}=", str(a + b)) for a, b in pairs]

    def result(self, reply: str) -> str:
        """Return the whole reply."""
        return reply.strip()

    def corpus(self) -> list[str]:
        """Return up to 5,000 training sums."""
        samples = spread(self.num_samples).tolist()
        return ["".join(pair) for pair in self.prompt_replies("train", samples)]

    def read_by(self, tokenizer: Tokenizer | None) -> Task:
        """Return the tokenized task."""
        assert tokenizer is not None
        return TokenizedPrompts(self, tokenizer)

    def _pairs(self, split: Split, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        pool = _pool(split, self.num_digits)
        place, choice = (
            uniform(self.seed, f"{split} {what}", indices)
            for what in ("pair", "own range")
        )
        if split == "train":
            own = self._users(indices) % NUM_RANGES
            is_own = choice < self.heterogeneity
            place = np.where(is_own, (own + place) / NUM_RANGES, place)
        return pool[(place * len(pool)).astype(np.int64)]


@cache
def _pool(split: Split, num_digits: int) -> NDArray[np.int64]:
    """Return all pairs of a split, ordered by the first number."""
    most = 10**num_digits
    order = stream(0, "arithmetic pairs", num_digits).permutation(most * most)
    cuts = [most * most // 5, 2 * most * most // 5]
    test, public, train = np.split(order, cuts)
    codes = np.sort({"test": test, "public": public, "train": train}[split])
    return np.stack(np.divmod(codes, most), axis=1)
