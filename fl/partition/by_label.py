"""Label skew: clients that hold some labels more than others."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fl.partition.partition import labels_of, require_enough, shares_of, top_up
from fl.record import Record
from fl.tasks import Source


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

    def groups(self, task: Source) -> NDArray[np.int64]:
        """Return the labels."""
        return labels_of(task, self.kind)

    def split(
        self,
        labels: NDArray[np.int64],
        num_clients: int,
        rng: np.random.Generator,
    ) -> list[NDArray[np.int64]]:
        """Return label-skewed shares of unequal size."""
        require_enough(len(labels), num_clients, self.min_partition_size)
        owner = np.empty(len(labels), dtype=np.int64)
        for label in np.unique(labels):
            samples = rng.permutation(np.flatnonzero(labels == label))
            proportions = rng.dirichlet(np.full(num_clients, self.alpha))
            cuts = np.cumsum(proportions) * len(samples)
            # the k-th shuffled sample goes to the client whose interval holds k + 1/2
            middles = np.arange(len(samples)) + 0.5
            owner[samples] = np.searchsorted(cuts[:-1], middles)
        top_up(owner, num_clients, self.min_partition_size, rng)
        return shares_of(owner, num_clients)


class Shards(Record):
    """Samples sorted by label are cut into equal shards, dealt out at random.

    McMahan et al., "Communication-Efficient Learning of Deep Networks from
    Decentralized Data" (AISTATS 2017): two shards of one label each give a client at
    most two labels, or a few more where a shard crosses a border.
    """

    kind: Literal["shards"] = "shards"
    shards_per_client: int = Field(default=2, ge=1)
    min_partition_size: int = Field(default=1, ge=1)

    def groups(self, task: Source) -> NDArray[np.int64]:
        """Return the labels."""
        return labels_of(task, self.kind)

    def split(
        self,
        labels: NDArray[np.int64],
        num_clients: int,
        rng: np.random.Generator,
    ) -> list[NDArray[np.int64]]:
        """Return shares of equally many shards."""
        smallest = max(self.min_partition_size, self.shards_per_client)
        require_enough(len(labels), num_clients, smallest)
        shuffled = rng.permutation(len(labels))
        by_label = shuffled[np.argsort(labels[shuffled], kind="stable")]
        num_shards = num_clients * self.shards_per_client
        dealt = rng.permutation(num_shards) // self.shards_per_client
        owner = np.empty(len(labels), dtype=np.int64)
        for client_id, shard in zip(
            dealt, np.array_split(by_label, num_shards), strict=True
        ):
            owner[shard] = client_id
        top_up(owner, num_clients, self.min_partition_size, rng)
        return shares_of(owner, num_clients)
