"""Who holds which sample: the training set divided among the clients."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fl.record import Record


class Partition(Protocol):
    """Divides a training set among clients."""

    def split(
        self,
        labels: NDArray[np.int64],
        num_clients: int,
        rng: np.random.Generator,
    ) -> list[NDArray[np.int64]]:
        """Return each client's sample indices, ascending; every sample is used once."""
        ...


class IID(Record):
    """Every client holds a uniform random share, the sizes differing by at most one."""

    kind: Literal["iid"] = "iid"

    def split(
        self,
        labels: NDArray[np.int64],
        num_clients: int,
        rng: np.random.Generator,
    ) -> list[NDArray[np.int64]]:
        """Return equal random shares."""
        _require_enough(len(labels), num_clients, 1)
        order = rng.permutation(len(labels))
        return [np.sort(share) for share in np.array_split(order, num_clients)]


class DirichletByLabel(Record):
    """The samples of each label are divided in Dirichlet(alpha) proportions.

    Hsu, Qi and Brown, "Measuring the Effects of Non-Identical Data Distribution for
    Federated Visual Classification" (arXiv 1909.06335): a small ``alpha`` gives a
    client few labels. A client that ends below ``min_partition_size`` receives random
    samples of the largest holder, one at a time, until it has that many.
    """

    kind: Literal["dirichlet"] = "dirichlet"
    alpha: float = Field(default=0.5, gt=0, allow_inf_nan=False)
    min_partition_size: int = Field(default=1, ge=1)

    def split(
        self,
        labels: NDArray[np.int64],
        num_clients: int,
        rng: np.random.Generator,
    ) -> list[NDArray[np.int64]]:
        """Return label-skewed shares of unequal size."""
        _require_enough(len(labels), num_clients, self.min_partition_size)
        owner = np.empty(len(labels), dtype=np.int64)
        for label in np.unique(labels):
            samples = rng.permutation(np.flatnonzero(labels == label))
            proportions = rng.dirichlet(np.full(num_clients, self.alpha))
            cuts = np.cumsum(proportions) * len(samples)
            # the k-th shuffled sample goes to the client whose interval holds k + 1/2
            middles = np.arange(len(samples)) + 0.5
            owner[samples] = np.searchsorted(cuts[:-1], middles)
        _top_up(owner, num_clients, self.min_partition_size, rng)
        order = np.argsort(owner, kind="stable")
        ends = np.cumsum(np.bincount(owner, minlength=num_clients))[:-1]
        return np.split(order, ends)


PARTITIONS = {"iid": IID, "dirichlet": DirichletByLabel}


def _require_enough(num_samples: int, num_clients: int, smallest: int) -> None:
    if num_clients < 1:
        raise ValueError(f"num_clients must be at least 1, got {num_clients}")
    if num_clients * smallest > num_samples:
        raise ValueError(
            f"{num_clients} clients of at least {smallest} samples each need "
            f"{num_clients * smallest}, but the training set has {num_samples}"
        )


def _top_up(
    owner: NDArray[np.int64],
    num_clients: int,
    smallest: int,
    rng: np.random.Generator,
) -> None:
    """Hand samples from the largest holders to the clients below the minimum."""
    sizes = np.bincount(owner, minlength=num_clients)
    for client_id in np.flatnonzero(sizes < smallest):
        while sizes[client_id] < smallest:
            giver = int(np.argmax(sizes))
            sample = rng.choice(np.flatnonzero(owner == giver))
            owner[sample] = client_id
            sizes[giver] -= 1
            sizes[client_id] += 1
