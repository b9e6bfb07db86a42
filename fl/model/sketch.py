"""Sketches: a client trains and sends some columns of B and the same rows of A.

"Federated Sketching LoRA" (arXiv 2501.19389): with k of r indices J drawn uniformly and
S = (r/k) diag(1[j in J]), E[S] = I, the client trains W0 + s B S A. This is a LoRA of
rank k with the columns and rows J and the scale s r/k. Here the client has nothing
else, so momentum and weight decay do not affect the other ranks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from fl.model.adapters import Adapter, Layout

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Sketch:
    """The rank indices that a client trains in a round, the same in every layer."""

    indices: tuple[int, ...]  # ascending
    full_rank: int
    is_own: bool = False  # a LoRA of the client's own, smaller rank: scale 1

    def __post_init__(self) -> None:
        fits = self.indices and 0 <= self.indices[0] <= self.indices[-1]
        if not fits or self.indices[-1] >= self.full_rank:
            raise ValueError(
                f"a sketch needs indices from 0 to {self.full_rank - 1}, "
                f"got {self.indices}"
            )
        assert list(self.indices) == sorted(set(self.indices))

    @property
    def rank(self) -> int:
        """Return k, the number of indices."""
        return len(self.indices)

    @property
    def is_whole(self) -> bool:
        """Return whether this is plain LoRA."""
        return self.rank == self.full_rank

    @property
    def scale(self) -> float:
        """Return r/k, the non-zero entries of S, or 1 for a client's own rank."""
        return 1.0 if self.is_own else self.full_rank / self.rank


def draw_sketch(rank: int, full_rank: int, rng: np.random.Generator) -> Sketch:
    """Return ``rank`` of ``full_rank`` indices, drawn uniformly."""
    if not 1 <= rank <= full_rank:
        raise ValueError(
            f"rank must be from 1 to the adapter's {full_rank}, got {rank}"
        )
    drawn = rng.choice(full_rank, size=rank, replace=False)
    return Sketch(tuple(sorted(int(j) for j in drawn)), full_rank)


def own_rank(rank: int, full_rank: int) -> Sketch:
    """Return the sketch of a client whose LoRA has a smaller rank of its own."""
    return Sketch(tuple(range(rank)), full_rank, is_own=True)


def whole_sketch(full_rank: int) -> Sketch:
    """Return the sketch with all indices, which is plain LoRA."""
    return Sketch(tuple(range(full_rank)), full_rank)


def index_bits(rank: int, full_rank: int) -> int:
    """Return the bits that send a client its indices: one per index, 0 at full rank."""
    return 0 if rank == full_rank else full_rank


def compensation(optim: Literal["sgd", "momentum", "adamw"], sketch: Sketch) -> float:
    """Return the factor of the change of the sketched rows and columns.

    Adam's normalisation cancels the r/k in the gradient: a column changes as much as
    without a sketch, but only in k/r of the rounds. Multiplied by r/k, the change of
    the server's model equals that of the client's model to first order.
    """
    return sketch.scale if optim == "adamw" else 1.0


def sketched(
    layout: Layout, tensors: Mapping[str, Tensor], sketch: Sketch
) -> dict[str, Tensor]:
    """Return the sketched rows of A and columns of B, and the whole modules."""
    import torch

    chosen = torch.tensor(sketch.indices)
    picked = {}
    for part in layout.parts:
        tensor = tensors[part.name]
        dim = part.rank_dim
        picked[part.name] = tensor if dim is None else tensor.index_select(dim, chosen)
    return picked


def scattered(
    start: Adapter, sketch: Sketch, trained: Mapping[str, Tensor], *, gain: float
) -> Adapter:
    """Return ``start`` with the sketched numbers replaced and all others unchanged.

    ``gain`` multiplies the change of the LoRA factors.
    """
    import torch

    chosen = torch.tensor(sketch.indices)
    before = sketched(start.layout, start.tensors(), sketch) if gain != 1.0 else {}
    flat = start.flat.clone()
    views = start.layout.views(flat)
    for part in start.layout.parts:
        view, after = views[part.name], trained[part.name]
        if part.rank_dim is None:
            view.copy_(after)
            continue
        if gain != 1.0:
            after = before[part.name] + gain * (after - before[part.name])
        view.index_copy_(part.rank_dim, chosen, after)
    return Adapter(start.layout, flat)
