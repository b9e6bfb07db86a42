"""Sketches: a client trains and sends some columns of B and the same rows of A.

"Federated Sketching LoRA" (arXiv 2501.19389): with k of r indices J drawn uniformly and
S = (r/k) diag(1[j in J]), E[S] = I, the client trains W0 + s B S A. That is a LoRA of
rank k, made of the columns and rows J, with scale s r/k; so here the client holds
nothing else, and neither momentum nor weight decay can reach the rest.
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
    """The rank indices that one client trains in one round, in every layer."""

    indices: tuple[int, ...]  # ascending
    full_rank: int
    is_own: bool = False  # a LoRA of the client's own, smaller rank: not scaled

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
        """Return r/k, the non-zero entries of S; 1 for a LoRA of the client's own."""
        return 1.0 if self.is_own else self.full_rank / self.rank


def draw_sketch(rank: int, full_rank: int, rng: np.random.Generator) -> Sketch:
    """Return ``rank`` of ``full_rank`` indices, every set equally likely.

    The generator is ``stream(seed, "sketch", client_id, round_id)``.
    """
    if not 1 <= rank <= full_rank:
        raise ValueError(
            f"rank must be from 1 to the adapter's {full_rank}, got {rank}"
        )
    drawn = rng.choice(full_rank, size=rank, replace=False)
    return Sketch(tuple(sorted(int(j) for j in drawn)), full_rank)


def own_rank(rank: int, full_rank: int) -> Sketch:
    """Return the first columns and rows: a client whose LoRA is of smaller rank."""
    return Sketch(tuple(range(rank)), full_rank, is_own=True)


def whole_sketch(full_rank: int) -> Sketch:
    """Return the sketch that is plain LoRA."""
    return Sketch(tuple(range(full_rank)), full_rank)


def index_bits(rank: int, full_rank: int) -> int:
    """Return the bits that tell a client its indices: one per index, travelling down.

    A client of full rank needs none.
    """
    return 0 if rank == full_rank else full_rank


def compensation(optim: Literal["sgd", "momentum", "adamw"], sketch: Sketch) -> float:
    """Return what multiplies the change of the touched rows and columns.

    Adam's normalisation cancels the r/k in the gradient, so that a column moves as far
    as without a sketch but only in k/r of the rounds. Its change is multiplied by r/k:
    the server's model then changes, to first order, by what the client's own did.
    """
    return sketch.scale if optim == "adamw" else 1.0


def touched(
    layout: Layout, tensors: Mapping[str, Tensor], sketch: Sketch
) -> dict[str, Tensor]:
    """Return the chosen rows of A and columns of B, and what is not LoRA whole."""
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
    """Return ``start`` with the touched numbers replaced, all others bit for bit.

    ``gain`` multiplies the change of the LoRA factors.
    """
    import torch

    chosen = torch.tensor(sketch.indices)
    before = touched(start.layout, start.tensors(), sketch) if gain != 1.0 else {}
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
