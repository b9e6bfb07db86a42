"""The interface of a partition, and functions that partitions share."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from fl.tasks import Source

Indices: TypeAlias = NDArray[np.int64]


class Partition(Protocol):
    """Divides a training set among clients."""

    @property
    def kind(self) -> str:
        """Return the name used in scenarios."""

    def groups(self, task: Source) -> Indices:
        """Return the group of every training sample, such as its label.

        Raises ``ValueError`` if the task has no such groups.
        """

    def split(self, groups: Indices, num_clients: int, rng: Generator) -> list[Indices]:
        """Return each client's sample indices, ascending; every sample occurs once."""


def divide(
    partition: Partition, task: Source, num_clients: int, rng: Generator
) -> list[Indices]:
    """Return each client's training samples, ascending."""
    return partition.split(partition.groups(task), num_clients, rng)


def labels_of(task: Source, kind: str) -> Indices:
    """Return the training labels; raise ``ValueError`` if the task has none."""
    if not task.num_labels:
        raise ValueError(
            f"partition {kind!r} divides by label and this task has none: its answers "
            "are texts; use 'iid', 'power-law', 'column' or 'file'"
        )
    return task.labels("train")


def label_counts(
    labels: Indices,
    shares: Sequence[Indices],
    num_labels: int | None = None,
) -> Indices:
    """Return the number of samples per client (rows) and label (columns)."""
    width = int(labels.max(initial=-1)) + 1 if num_labels is None else num_labels
    sizes = [len(share) for share in shares]
    owners = np.repeat(np.arange(len(shares)), sizes)
    held = labels[np.concatenate(shares)] if owners.size else labels[:0]
    counts = np.bincount(owners * width + held, minlength=len(shares) * width)
    return counts.astype(np.int64).reshape(len(shares), width)


def require_enough(num_samples: int, num_clients: int, smallest: int) -> None:
    """Raise ``ValueError`` if there are too few samples for this many clients."""
    if num_clients < 1:
        raise ValueError(f"num_clients must be at least 1, got {num_clients}")
    if num_clients * smallest > num_samples:
        raise ValueError(
            f"{num_clients} clients of at least {smallest} samples each need "
            f"{num_clients * smallest}, but the training set has {num_samples}"
        )


def shares_of(owner: Indices, num_clients: int) -> list[Indices]:
    """Return each client's samples, ascending, given each sample's owner."""
    order = np.argsort(owner, kind="stable")
    ends = np.cumsum(np.bincount(owner, minlength=num_clients))[:-1]
    return np.split(order, ends)


def top_up(
    owner: Indices,
    num_clients: int,
    smallest: int,
    rng: Generator,
) -> None:
    """Move samples from the largest partitions to those below the minimum."""
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


def _largest(heap: list[tuple[int, int]], shares: Sequence[Indices]) -> int:
    """Return the first client with the most samples; outdated entries are removed."""
    while -heap[0][0] != len(shares[heap[0][1]]):
        heapq.heappop(heap)
    return heap[0][1]
