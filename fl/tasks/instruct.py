"""Prompts and responses for a causal language model, from a user's files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from fl.tasks.splits import FileTask, spread
from fl.tasks.tables import Table
from fl.tasks.task import Objective, Split, Task
from fl.tasks.tokenized import PromptReply, TokenizedPrompts
from fl.tasks.tokens import Tokenizer

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


class Instruct(FileTask):
    """Prompts and responses such as GSM8K's; the loss covers the response only.

    ``prompt_format`` is a template in which ``{prompt}`` is replaced; ``chat: true``
    uses the model's chat template instead. Prompt and response together are cut to
    ``max_length`` tokens.
    """

    kind: Literal["instruct"] = "instruct"
    objective: ClassVar[Objective] = "causal"
    num_labels: ClassVar = 0  # responses are texts
    prompt_column: str = "question"
    response_column: str = "answer"
    prompt_format: str = "{prompt}\n"
    chat: bool = False
    max_length: int = Field(default=512, ge=8)

    @field_validator("prompt_format")
    @classmethod
    def _check_prompt_format(cls, value: str) -> str:
        if "{prompt}" not in value:
            raise ValueError("must contain {prompt}")
        return value

    def labels(self, split: Split) -> NDArray[np.int64]:
        """Return a zero for every sample."""
        table = self._table(split)
        num_rows = 0 if table is None else len(self._rows(split, table))
        return np.zeros(num_rows, dtype=np.int64)

    def column(self, name: str) -> NDArray[np.str_]:
        """Return a column of the training file."""
        return self._column(name, header=True)

    def prompt_replies(self, split: Split, indices: Sequence[int]) -> list[PromptReply]:
        """Return the formatted prompts at these indices, with their responses."""
        table = self._table(split)
        assert table is not None
        prompts, responses = table.columns
        frame = "{prompt}" if self.chat else self.prompt_format
        return [
            PromptReply(frame.replace("{prompt}", prompts[row]), responses[row])
            for row in self._rows(split, table)[list(indices)].tolist()
        ]

    def result(self, reply: str) -> str:
        """Return the part of a reply that is compared: see ``final_answer``."""
        return final_answer(reply)

    def corpus(self) -> list[str]:
        """Return up to 5,000 training prompts with their responses, evenly spread."""
        samples = spread(len(self.labels("train")))
        return [
            f"{prompt}{reply}"
            for prompt, reply in self.prompt_replies("train", samples.tolist())
        ]

    def read_by(self, tokenizer: Tokenizer | None) -> Task:
        """Return the tokenized task."""
        assert tokenizer is not None
        return TokenizedPrompts(self, tokenizer)

    def _table(self, split: Split) -> Table | None:
        columns = (self.prompt_column, self.response_column)
        return self._read(split, columns, header=True)


def final_answer(reply: str) -> str:
    """Return the number after the last ``####``, without commas, or else the reply.

    A ``####`` without a number gives an empty text, which matches no reference.
    """
    _, mark, tail = reply.rpartition("####")
    if not mark:
        return reply.strip()
    number = _NUMBER.search(tail)
    return "" if number is None else number[0].replace(",", "")
