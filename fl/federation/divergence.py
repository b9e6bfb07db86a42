"""What becomes of a merge when numbers in it are no longer finite."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from fl.contract import Job
from fl.federation.versions import Version
from fl.training.local_training import Diverged

# By job, the local step at which its own numbers were not finite; None: the merge's.
Steps: TypeAlias = Mapping[str, int | None]


@dataclass(eq=False)
class MergeDiverged(ArithmeticError):
    """A merge of finite adapters is not finite."""

    round_id: int
    largest_weight: float

    def __str__(self) -> str:
        return (
            f"round {self.round_id}: the merged adapter is not finite, with weights of "
            f"up to {self.largest_weight:.4g}; raise the smallest sampling "
            "probability, or bound the weights by policy.max_weight"
        )


def reason(step: int | None) -> str:
    """Return why numbers were left out; without a step they were the merge's."""
    return "the merge is not finite" if step is None else f"at local step {step}"


def require_finite(
    lost: Steps, weights: Iterable[float], jobs: Mapping[str, Job], round_id: int
) -> None:
    """Raise ``Diverged`` or ``MergeDiverged`` where a merge left anything out."""
    for ticket, step in lost.items():
        if step is None:
            raise MergeDiverged(round_id, max(weights))
        raise Diverged(jobs[ticket].client_id, jobs[ticket].start_index, step)


def is_finite(version: Version) -> bool:
    """Return whether all numbers of a version are finite."""
    return all(bool(np.isfinite(one).all()) for one in version.arrays().values())
