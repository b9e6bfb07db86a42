"""Passes through the model: mini-batches sliced by text length, to pad less."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fl.tasks.tokens import text_lengths
from fl.training.grouping import PassRule, Shape, group_clients, shape

if TYPE_CHECKING:
    from torch import Tensor


class Slice(NamedTuple):
    """A part of one client's mini-batch, and the client's row."""

    row: int
    batch: Mapping[str, Tensor]


def passes(
    batches: Sequence[Mapping[str, Tensor]], rule: PassRule
) -> list[list[Slice]]:
    """Return the slices of each pass through the model, for one mini-batch per client.

    A mini-batch stays whole, or its texts, shortest first, are cut into 2, 4, 8 … equal
    slices, whichever costs least. The cost depends on the texts' lengths alone.
    """
    lengths = [text_lengths(batch) if rule.slices_texts else None for batch in batches]
    shapes = [shape(batch) for batch in batches]
    best = [[(index, 1, 0) for index in group] for group in group_clients(shapes, rule)]
    lowest = sum(_cost([shapes[i] for i, _, _ in group], rule) for group in best)
    num_slices = 2
    while any(_divides(num_slices, known) for known in lengths):
        slices, cut = _cut(shapes, lengths, num_slices)
        found = group_clients(cut, rule)
        cost = sum(_cost([cut[i] for i in group], rule) for group in found)
        if cost < lowest:
            lowest = cost
            best = [[slices[i] for i in group] for group in found]
        num_slices *= 2
    return [
        [Slice(row, _taken(batches[row], lengths[row], *part)) for row, *part in group]
        for group in best
    ]


def _divides(num_slices: int, lengths: NDArray[np.int64] | None) -> bool:
    return (
        lengths is not None
        and len(lengths) % num_slices == 0
        and len(lengths) >= num_slices
    )


def _cut(
    shapes: Sequence[Shape],
    lengths: Sequence[NDArray[np.int64] | None],
    num_slices: int,
) -> tuple[list[tuple[int, int, int]], list[Shape]]:
    """Return the index (client, number of slices, which) and shape of each slice."""
    slices, cut = [], []
    for row, (whole, known) in enumerate(zip(shapes, lengths, strict=True)):
        if known is None or not _divides(num_slices, known):
            slices.append((row, 1, 0))
            cut.append(whole)
            continue
        longest = np.sort(known).reshape(num_slices, -1)[:, -1]
        for which, length in enumerate(longest.tolist()):
            slices.append((row, num_slices, which))
            cut.append(Shape(len(known) // num_slices, length))
    return slices, cut


def _cost(group: Sequence[Shape], rule: PassRule) -> int:
    longest = max(length for _, length in group)
    samples = sum(size for size, _ in group)
    return samples * longest * rule.positions_per_image + rule.pass_cost


def _taken(
    batch: Mapping[str, Tensor],
    lengths: NDArray[np.int64] | None,
    num_slices: int,
    which: int,
) -> Mapping[str, Tensor]:
    """Return one slice of a batch, cut to its longest text."""
    import torch

    if num_slices == 1:
        return batch
    assert lengths is not None
    order = np.argsort(lengths, kind="stable").reshape(num_slices, -1)[which]
    longest, width = int(lengths[order[-1]]), batch["input_ids"].shape[1]
    rows = torch.from_numpy(order)
    return {
        name: value[rows, :longest]
        if value.dim() >= 2 and value.shape[1] == width
        else value[rows]
        for name, value in batch.items()
    }
