"""What becomes of a merge when numbers in it are no longer finite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from fl.contract import Job
from fl.federation.versions import Version
from fl.memory.store import Entry
from fl.training.local_training import Diverged

if TYPE_CHECKING:
    from torch import Tensor

# By job, the local step at which its own numbers were not finite; None: the merge's.
Steps: TypeAlias = Mapping[str, int | None]


class MergeDiverged(ArithmeticError):
    """A merge of finite adapters is not finite; carries the round and the weight."""

    def __init__(self, round_id: int, largest_weight: float) -> None:
        super().__init__(round_id, largest_weight)
        self.round_id = round_id
        self.largest_weight = largest_weight

    def __str__(self) -> str:
        return (
            f"round {self.round_id}: the merged adapter is not finite, with weights of "
            f"up to {self.largest_weight:.4g}; raise the smallest sampling "
            "probability, or bound the weights by policy.max_weight"
        )


def diverged(entry: Entry) -> Steps:
    """Return which jobs a merge left out because of their numbers, or its own."""
    found: dict[str, int | None] = entry.facts["diverged"]
    return found


def reason(step: int | None) -> str:
    """Return why numbers were left out; without a step they were the merge's."""
    return "the merge is not finite" if step is None else f"at local step {step}"


def is_void(entry: Entry) -> bool:
    """Return whether nothing was merged: the version before is still the newest."""
    return not entry.arrays


def void_entry(lost: Steps) -> Entry:
    """Return what is remembered of a merge of nothing."""
    return Entry({"rows": [], "ranks": [], "norms2": {}, "diverged": dict(lost)})


def require_finite(
    entry: Entry, weights: Mapping[str, float], jobs: Mapping[str, Job], round_id: int
) -> None:
    """Raise ``Diverged`` or ``MergeDiverged`` where a merge left anything out."""
    for name, step in diverged(entry).items():
        if step is None:
            raise MergeDiverged(round_id, max(weights.values()))
        raise Diverged(jobs[name].client_id, jobs[name].start_index, step)


def is_finite(version: Version) -> bool:
    """Return whether all numbers of a version are finite."""
    memory = version.memory
    tensors: list[Tensor | None] = [
        version.adapter.flat,
        version.fold,
        memory.first,
        memory.second,
    ]
    return all(bool(t.isfinite().all()) for t in tensors if t is not None)
