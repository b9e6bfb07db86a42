"""A version of the global model: what clients start from, and all that made it so."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING

from fl.aggregation import VersionRanks
from fl.aggregation.components import Pair
from fl.aggregation.server_optimiser import Moments
from fl.contract import LayerError
from fl.federation.jobs import Numbers
from fl.memory.store import Entry
from fl.model.adapters import Adapter, Layout

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """What a store keeps of a version besides its arrays, and of the merge that made
    it; a merge of nothing has no arrays."""

    digest: str  # of the model's numbers; of a merge of nothing it is empty
    ranks: tuple[VersionRanks, ...] = ()  # one per adapted matrix
    extra_arrays: tuple[str, ...] = ()  # those after the adapter's
    layers: tuple[LayerError, ...] = ()
    norms2: Mapping[str, float] = field(default_factory=dict)  # by job that was merged
    diverged: Mapping[str, int | None] = field(default_factory=dict)  # by job left out
    sum_norm2: float | None = None  # of the weighted sum of the jobs' changes
    losses: Mapping[str, float | None] = field(default_factory=dict)  # as norms2


@dataclass(frozen=True, eq=False)
class Version:
    """The model ``W0 + s (fold + B A)`` of every adapted matrix, and the rest.

    The adapter may have another rank in each matrix. The fold is all that merges have
    added to the frozen base so far: one dense matrix after the other, flat.
    """

    adapter: Adapter
    fold: Tensor | None = None
    memory: Moments = field(default_factory=Moments)  # the server optimiser's
    shared: Tensor | None = None  # sent with it, for local training

    @cached_property
    def digest(self) -> str:
        """Return the digest of the model's numbers."""
        if self.fold is None:
            return self.adapter.digest
        fold = hashlib.sha256(self.fold.numpy().tobytes()).hexdigest()
        return hashlib.sha256((self.adapter.digest + fold).encode()).hexdigest()

    def folds(self) -> dict[str, Tensor]:
        """Return what was added to each adapted matrix, over the LoRA scale."""
        return {} if self.fold is None else unflattened(self.fold, self.adapter.layout)

    @classmethod
    def of(cls, entry: Entry[StoredVersion], layout: Layout) -> Version:
        """Return the version of an entry, of the model's matrices."""
        import torch

        modules = zip(layout.modules, entry.record.ranks, strict=True)
        own = layout.at_ranks({module: ranks.pair for module, ranks in modules})
        flat, *others = (torch.from_numpy(numbers.copy()) for numbers in entry.arrays)
        named = dict(zip(entry.record.extra_arrays, others, strict=True))
        memory = Moments(named.get("first"), named.get("second"))
        shared = named.get("shared")
        return cls(Adapter(own, flat), named.get("fold"), memory, shared)

    def arrays(self) -> dict[str, Numbers]:
        """Return the version's numbers by name, the adapter's first."""
        known = {
            "adapter": self.adapter.flat,
            "fold": self.fold,
            "first": self.memory.first,
            "second": self.memory.second,
            "shared": self.shared,
        }
        return {name: t.numpy() for name, t in known.items() if t is not None}

    def entry(
        self,
        layers: tuple[LayerError, ...] = (),
        folds: Mapping[str, Pair] = MappingProxyType({}),
        norms2: Mapping[str, float] = MappingProxyType({}),
        lost: Mapping[str, int | None] = MappingProxyType({}),
        sum_norm2: float | None = None,
        losses: Mapping[str, float | None] = MappingProxyType({}),
    ) -> Entry[StoredVersion]:
        """Return the version as a store keeps it, with how the merge went that made it
        and what this merge added to the base."""
        ranks = [
            VersionRanks(len(lora_a), len(folds[name].lora_a) if name in folds else 0)
            for name, (_, lora_a) in self.adapter.pairs().items()
        ]
        _, *extra = arrays = self.arrays()
        record = StoredVersion(
            self.digest,
            tuple(ranks),
            tuple(extra),
            layers,
            dict(norms2),
            dict(lost),
            sum_norm2,
            dict(losses),
        )
        return Entry(record, tuple(arrays.values()))

    def at_rank(self, rank: int, initial: Adapter) -> Adapter:
        """Return what a client of some rank continues from: the first columns, or all
        and below them its own rows of A, as they were in the beginning, with B = 0."""
        layout = initial.layout.at_rank(rank)
        if layout == self.adapter.layout:
            return self.adapter
        own = initial.pairs()
        pairs = {
            name: at_rank(pair, rank, own[name].lora_a)
            for name, pair in self.adapter.pairs().items()
        }
        return self.adapter.with_pairs(pairs, self.adapter.rest())

    def with_layout(self, layout: Layout) -> Version:
        """Return the same model with an adapter of this layout, to compute with: a pair
        of any other rank goes into the fold."""
        if self.adapter.layout == layout:
            return self
        zeros, rank = self.adapter.flat.new_zeros, layout.rank
        pairs = {
            name: Pair(zeros(rows, rank), zeros(rank, columns))
            for name, (rows, columns) in layout.shapes.items()
        }
        adapter = self.adapter.with_pairs(pairs, self.adapter.rest())
        return Version(adapter, refolded(self, self.adapter.pairs()), self.memory)


def at_rank(pair: Pair, rank: int, own_a: Tensor) -> Pair:
    """Return the pair cut or padded to a client's rank: with the client's own rows of
    A and B = 0, so that the product stays the same and all ranks can be trained."""
    import torch

    width = min(rank, len(pair.lora_a))
    lora_b = pair.lora_b.new_zeros(len(pair.lora_b), rank)
    lora_b[:, :width] = pair.lora_b[:, :width]
    return Pair(lora_b, torch.cat([pair.lora_a[:width], own_a[width:rank]]))


def unflattened(fold: Tensor, layout: Layout) -> dict[str, Tensor]:
    """Return the matrices of a flat fold, as views."""
    import torch

    shapes = layout.shapes
    chunks = torch.split(fold, [rows * columns for rows, columns in shapes.values()])
    return {
        name: chunk.view(shape)
        for (name, shape), chunk in zip(shapes.items(), chunks, strict=True)
    }


def refolded(before: Version, folds: Mapping[str, Pair]) -> Tensor | None:
    """Return the fold of a version with what one more merge adds to the base."""
    if not folds:
        return before.fold
    layout = before.adapter.layout
    sizes = [rows * columns for rows, columns in layout.shapes.values()]
    total = (
        before.adapter.flat.new_zeros(sum(sizes))
        if before.fold is None
        else before.fold.clone()
    )
    matrices = unflattened(total, layout)
    for name, (lora_b, lora_a) in folds.items():
        matrices[name] += lora_b @ lora_a
    return total
