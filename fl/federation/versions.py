"""A version of the global model: what clients start from, and all that made it so."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from fl.aggregation.components import Pair
from fl.aggregation.restart import at_rank
from fl.aggregation.server_optimiser import Moments
from fl.memory.store import Entry
from fl.model.adapters import Adapter, Layout

if TYPE_CHECKING:
    from torch import Tensor

    from fl.contract import LayerError


@dataclass(frozen=True, eq=False)
class Version:
    """The model ``W0 + s (fold + B A)`` of every adapted matrix, and the rest.

    The adapter may have another rank in each matrix. The fold is all that merges have
    added to the frozen base so far: one dense matrix after the other, flat.
    """

    adapter: Adapter
    fold: Tensor | None = None
    memory: Moments = field(default_factory=Moments)  # the server optimiser's

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

    def entry(self, rows: Sequence[LayerError], fold_ranks: Mapping[str, int]) -> Entry:
        """Return the version as a store keeps it, with how its merge went."""
        pairs = self.adapter.pairs()
        ranks = [
            [len(lora_a), fold_ranks.get(module, 0)]
            for module, (_, lora_a) in pairs.items()
        ]
        parts = {
            "fold": self.fold,
            "first": self.memory.first,
            "second": self.memory.second,
        }
        known = {name: tensor for name, tensor in parts.items() if tensor is not None}
        facts = {
            "adapter": self.digest,
            "rows": [list(row) for row in rows],
            "ranks": ranks,
            "beside": list(known),
        }
        return Entry(
            facts, tuple(t.numpy() for t in (self.adapter.flat, *known.values()))
        )

    @classmethod
    def of(cls, entry: Entry, layout: Layout) -> Version:
        """Return the version of an entry, of the model's matrices."""
        import torch

        modules = zip(layout.modules, entry.facts["ranks"], strict=True)
        own = layout.at_ranks({module: pair for module, (pair, _) in modules})
        flat, *others = (torch.from_numpy(numbers.copy()) for numbers in entry.arrays)
        beside = dict(zip(entry.facts["beside"], others, strict=True))
        memory = Moments(beside.get("first"), beside.get("second"))
        return cls(Adapter(own, flat), beside.get("fold"), memory)

    def at_rank(self, rank: int, initial: Adapter) -> Adapter:
        """Return what a client of some rank continues from: the first columns, or all
        and below them its own rows of A, as they were in the beginning, with B = 0."""
        layout = initial.layout.at_rank(rank)
        if layout == self.adapter.layout:
            return self.adapter
        fresh = {
            name: Pair(lora_b.new_zeros(len(lora_b), rank), lora_a[:rank])
            for name, (lora_b, lora_a) in initial.pairs().items()
        }
        pairs = {
            name: at_rank(Pair(*pair), rank, fresh[name])
            for name, pair in self.adapter.pairs().items()
        }
        return self.adapter.with_pairs(pairs, self.adapter.rest())

    def with_layout(self, layout: Layout) -> Version:
        """Return the same model with an adapter of this layout, to compute with: a pair
        of any other rank goes into the fold."""
        if self.adapter.layout == layout:
            return self
        import torch

        folds, pairs = self.folds(), {}
        flat = []
        for name, (lora_b, lora_a) in self.adapter.pairs().items():
            product = lora_b @ lora_a
            flat.append((product + folds[name] if folds else product).flatten())
            rank = layout.rank
            pairs[name] = (
                lora_b.new_zeros(len(lora_b), rank),
                lora_a.new_zeros(rank, lora_a.shape[1]),
            )
        adapter = self.adapter.with_pairs(pairs, self.adapter.rest())
        return Version(adapter, torch.cat(flat), self.memory)


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
