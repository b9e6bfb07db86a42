"""What an evaluation measures, and on which samples."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fl.record import Record
from fl.streams import stream

MeasuredSplit: TypeAlias = Literal["test", "validation"]


class EvaluationSettings(Record):
    """The metrics to compute, and the part of the test split to use.

    ``limit`` uses the first samples of the test split, whose order is fixed; the trace
    then shows ``test[:500]``. ``validation`` sets that share of them aside, drawn once
    for all seeds: they are measured as well, and are none of the test samples then.
    ``average`` measures the exponential average of the global adapters in place of the
    last one: each counts that factor less than the next. ``exact_match`` makes a causal
    model generate its answers greedily, with at most ``max_new_tokens``. ``bf16`` uses
    bfloat16 autocast.
    """

    limit: int | None = Field(default=None, ge=1)
    validation: Annotated[float, Field(gt=0, lt=1)] | None = None
    average: Annotated[float, Field(gt=0, le=0.95)] | None = None
    exact_match: bool = False
    max_new_tokens: int = Field(default=64, ge=1)
    bf16: bool = False

    @property
    def splits(self) -> tuple[MeasuredSplit, ...]:
        """Return the splits that are measured, the test split first."""
        return ("test",) if self.validation is None else ("test", "validation")

    def split_name(self, num_samples: int, split: MeasuredSplit = "test") -> str:
        """Return the name of a split in the trace, such as ``test[:500]``."""
        if self.limit is None or self.limit >= num_samples:
            return split
        return f"{split}[:{self.limit}]"

    def places(self, num_samples: int, split: MeasuredSplit) -> NDArray[np.int64]:
        """Return which of the task's test samples are those of a split."""
        count = min(self.limit or num_samples, num_samples)
        if self.validation is None:
            return np.arange(count)
        order = stream(0, "validation", count).permutation(count)
        num_aside = round(self.validation * count)
        if not 0 < num_aside < count:
            raise ValueError(
                f"evaluation.validation: {self.validation:g} of {count} test samples "
                "leaves none for one of the two splits"
            )
        found = order[:num_aside] if split == "validation" else order[num_aside:]
        return np.sort(found).astype(np.int64)
