"""What an evaluation measures, and on which samples."""

from __future__ import annotations

from pydantic import Field

from fl.record import Record


class EvaluationSettings(Record):
    """The metrics to compute, and the part of the test split to use.

    ``limit`` uses the first samples of the test split, whose order is fixed; the trace
    then shows ``test[:500]``. ``exact_match`` makes a causal model generate its answers
    greedily, with at most ``max_new_tokens``. ``bf16`` uses bfloat16 autocast.
    """

    limit: int | None = Field(default=None, ge=1)
    exact_match: bool = False
    max_new_tokens: int = Field(default=64, ge=1)
    bf16: bool = False

    def split_name(self, num_samples: int) -> str:
        """Return the name of the test samples in the trace, such as ``test[:500]``."""
        if self.limit is None or self.limit >= num_samples:
            return "test"
        return f"test[:{self.limit}]"
