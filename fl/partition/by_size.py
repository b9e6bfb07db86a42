"""Random partitions: of equal size, or of sizes that follow a power law."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.random import Generator
from pydantic import Field

from fl.partition.partition import Indices, require_enough, shares_of
from fl.record import Record
from fl.tasks import Source


class IID(Record):
    """Uniform random partitions whose sizes differ by at most one."""

    kind: Literal["iid"] = "iid"
    min_partition_size: int = Field(default=1, ge=1)

    def groups(self, task: Source) -> Indices:
        """Return the labels, which ``split`` ignores."""
        return task.labels("train")

    def split(self, groups: Indices, num_clients: int, rng: Generator) -> list[Indices]:
        """Return random partitions of equal size."""
        require_enough(len(groups), num_clients, self.min_partition_size)
        order = rng.permutation(len(groups))
        return [np.sort(share) for share in np.array_split(order, num_clients)]


class PowerLaw(Record):
    """Random partitions whose sizes follow a power law (Zipf).

    Beyond ``min_partition_size`` the k-th largest partition is proportional to
    ``k ** -exponent``; partitions are assigned to clients at random.
    """

    kind: Literal["power-law"] = "power-law"
    exponent: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    min_partition_size: int = Field(default=1, ge=1)

    def groups(self, task: Source) -> Indices:
        """Return the labels, which ``split`` ignores."""
        return task.labels("train")

    def split(self, groups: Indices, num_clients: int, rng: Generator) -> list[Indices]:
        """Return random partitions of unequal size."""
        require_enough(len(groups), num_clients, self.min_partition_size)
        parts = np.arange(1, num_clients + 1, dtype=np.float64) ** -self.exponent
        free = len(groups) - num_clients * self.min_partition_size
        ends = np.rint(np.cumsum(parts) / parts.sum() * free).astype(np.int64)
        sizes = np.diff(ends, prepend=0) + self.min_partition_size
        owners = np.repeat(rng.permutation(num_clients), sizes)
        return shares_of(rng.permutation(owners), num_clients)
