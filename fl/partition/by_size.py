"""Shares without regard to content: equal ones, or a few large and many small."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fl.partition.partition import require_enough, shares_of
from fl.record import Record
from fl.tasks import Source


class IID(Record):
    """Every client holds a uniform random share, the sizes differing by at most one."""

    kind: Literal["iid"] = "iid"
    min_partition_size: int = Field(default=1, ge=1)

    def groups(self, task: Source) -> NDArray[np.int64]:
        """Return the labels, which are not looked at."""
        return task.labels("train")

    def split(
        self,
        labels: NDArray[np.int64],
        num_clients: int,
        rng: np.random.Generator,
    ) -> list[NDArray[np.int64]]:
        """Return equal random shares."""
        require_enough(len(labels), num_clients, self.min_partition_size)
        order = rng.permutation(len(labels))
        return [np.sort(share) for share in np.array_split(order, num_clients)]


class PowerLaw(Record):
    """Random shares whose sizes fall like a power of the client's rank by size.

    Above ``min_partition_size`` the k-th largest client holds a part proportional to
    ``k ** -exponent`` (Zipf); which client is the k-th is drawn.
    """

    kind: Literal["power-law"] = "power-law"
    exponent: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    min_partition_size: int = Field(default=1, ge=1)

    def groups(self, task: Source) -> NDArray[np.int64]:
        """Return the labels, which are not looked at."""
        return task.labels("train")

    def split(
        self,
        labels: NDArray[np.int64],
        num_clients: int,
        rng: np.random.Generator,
    ) -> list[NDArray[np.int64]]:
        """Return random shares of unequal size."""
        require_enough(len(labels), num_clients, self.min_partition_size)
        parts = np.arange(1, num_clients + 1, dtype=np.float64) ** -self.exponent
        free = len(labels) - num_clients * self.min_partition_size
        ends = np.rint(np.cumsum(parts) / parts.sum() * free).astype(np.int64)
        sizes = np.diff(ends, prepend=0) + self.min_partition_size
        owners = np.repeat(rng.permutation(num_clients), sizes)
        return shares_of(rng.permutation(owners), num_clients)
