"""What divides a training set among clients, and what came of it."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fl.tasks import Source


class Partition(Protocol):
    """Divides a training set among clients."""

    @property
    def kind(self) -> str:
        """Return the name."""
        ...

    def groups(self, task: Source) -> NDArray[np.int64]:
        """Return the group of every training sample that ``split`` goes by.

        Refuses a task that has no such groups.
        """
        ...

    def split(
        self,
        labels: NDArray[np.int64],
        num_clients: int,
        rng: np.random.Generator,
    ) -> list[NDArray[np.int64]]:
        """Return each client's sample indices, ascending; every sample is used once.

        ``labels`` are the groups.
        """
        ...


def divide(
    partition: Partition, task: Source, num_clients: int, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Return each client's training samples of a task, ascending."""
    return partition.split(partition.groups(task), num_clients, rng)


def labels_of(task: Source, kind: str) -> NDArray[np.int64]:
    """Return the training labels, or refuse a task that has none."""
    if not task.num_labels:
        raise ValueError(
            f"partition {kind!r} divides by label and this task has none: its answers "
            "are texts; use 'iid', 'power-law', 'column' or 'file'"
        )
    return task.labels("train")


def label_counts(
    labels: NDArray[np.int64],
    shares: Sequence[NDArray[np.int64]],
    num_labels: int | None = None,
) -> NDArray[np.int64]:
    """Return how many samples of each label (columns) each client (rows) holds."""
    width = int(labels.max(initial=-1)) + 1 if num_labels is None else num_labels
    sizes = [len(share) for share in shares]
    owners = np.repeat(np.arange(len(shares)), sizes)
    held = labels[np.concatenate(shares)] if owners.size else labels[:0]
    counts = np.bincount(owners * width + held, minlength=len(shares) * width)
    return counts.astype(np.int64).reshape(len(shares), width)


def require_enough(num_samples: int, num_clients: int, smallest: int) -> None:
    """Refuse more clients than the samples suffice for."""
    if num_clients < 1:
        raise ValueError(f"num_clients must be at least 1, got {num_clients}")
    if num_clients * smallest > num_samples:
        raise ValueError(
            f"{num_clients} clients of at least {smallest} samples each need "
            f"{num_clients * smallest}, but the training set has {num_samples}"
        )


def shares_of(owner: NDArray[np.int64], num_clients: int) -> list[NDArray[np.int64]]:
    """Return each client's samples, ascending, from each sample's owner."""
    order = np.argsort(owner, kind="stable")
    ends = np.cumsum(np.bincount(owner, minlength=num_clients))[:-1]
    return np.split(order, ends)


def top_up(
    owner: NDArray[np.int64],
    num_clients: int,
    smallest: int,
    rng: np.random.Generator,
) -> None:
    """Hand samples from the largest holders to the clients below the minimum."""
    shares = shares_of(owner, num_clients)
    sizes = np.array([len(share) for share in shares])
    largest = [(-int(size), client_id) for client_id, size in enumerate(sizes)]
    heapq.heapify(largest)
    for client_id in np.flatnonzero(sizes < smallest).tolist():
        while len(shares[client_id]) < smallest:
            giver = _largest(largest, shares)
            place = int(rng.choice(len(shares[giver])))
            sample = shares[giver][place]
            shares[giver] = np.delete(shares[giver], place)
            position = int(np.searchsorted(shares[client_id], sample))
            shares[client_id] = np.insert(shares[client_id], position, sample)
            owner[sample] = client_id
            heapq.heapreplace(largest, (-len(shares[giver]), giver))
            heapq.heappush(largest, (-len(shares[client_id]), client_id))


def _largest(heap: list[tuple[int, int]], shares: Sequence[NDArray[np.int64]]) -> int:
    """Return the client with most samples, the first of equals; old entries go."""
    while -heap[0][0] != len(shares[heap[0][1]]):
        heapq.heappop(heap)
    return heap[0][1]
