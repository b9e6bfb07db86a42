"""Partitions with label skew."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.random import Generator
from pydantic import Field

from fl.partition.partition import Indices, labels_of, require_enough, shares_of, top_up
from fl.record import Record
from fl.tasks import Source

MAX_ALPHA = 1e300  # beyond it the draws' sum overflows


class DirichletByLabel(Record):
    """The samples of each label are divided in Dirichlet(alpha) proportions.

    Hsu, Qi and Brown, "Measuring the Effects of Non-Identical Data Distribution for
    Federated Visual Classification" (arXiv 1909.06335): with a small ``alpha`` a client
    has few labels. A client below ``min_partition_size`` gets random samples from the
    client with the most, one at a time.
    """

    kind: Literal["dirichlet"] = "dirichlet"
    alpha: float = Field(default=0.5, gt=0, le=MAX_ALPHA)
    min_partition_size: int = Field(default=1, ge=1)

    def groups(self, task: Source) -> Indices:
        """Return the labels."""
        return labels_of(task, self.kind)

    def split(self, groups: Indices, num_clients: int, rng: Generator) -> list[Indices]:
        """Return label-skewed partitions of unequal size."""
        require_enough(len(groups), num_clients, self.min_partition_size)
        owner = np.empty(len(groups), dtype=np.int64)
        for label in np.unique(groups):
            samples = rng.permutation(np.flatnonzero(groups == label))
            proportions = rng.dirichlet(np.full(num_clients, self.alpha))
            cuts = np.cumsum(proportions) * len(samples)
            # sample k goes to the client whose interval contains k + 1/2
            middles = np.arange(len(samples)) + 0.5
            owner[samples] = np.searchsorted(cuts[:-1], middles)
        top_up(owner, num_clients, self.min_partition_size, rng)
        return shares_of(owner, num_clients)


class Shards(Record):
    """Samples sorted by label are cut into equal shards, assigned at random.

    McMahan et al., "Communication-Efficient Learning of Deep Networks from
    Decentralized Data" (AISTATS 2017): with two shards a client has two labels, or a
    few more if a shard contains several.
    """

    kind: Literal["shards"] = "shards"
    shards_per_client: int = Field(default=2, ge=1)
    min_partition_size: int = Field(default=1, ge=1)

    def groups(self, task: Source) -> Indices:
        """Return the labels."""
        return labels_of(task, self.kind)

    def split(self, groups: Indices, num_clients: int, rng: Generator) -> list[Indices]:
        """Return partitions of ``shards_per_client`` shards each."""
        smallest = max(self.min_partition_size, self.shards_per_client)
        require_enough(len(groups), num_clients, smallest)
        shuffled = rng.permutation(len(groups))
        by_label = shuffled[np.argsort(groups[shuffled], kind="stable")]
        num_shards = num_clients * self.shards_per_client
        shard_owners = rng.permutation(num_shards) // self.shards_per_client
        owner = np.empty(len(groups), dtype=np.int64)
        for client_id, shard in zip(
            shard_owners, np.array_split(by_label, num_shards), strict=True
        ):
            owner[shard] = client_id
        top_up(owner, num_clients, self.min_partition_size, rng)
        return shares_of(owner, num_clients)
