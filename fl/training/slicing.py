"""Mini-batches of unequal texts, cut into slices of like length: less is padded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fl.training.grouping import Rule, Shape, groups, shape
from fl.training.losses import IGNORED

if TYPE_CHECKING:
    from torch import Tensor


class Slice(NamedTuple):
    """Samples of one client's mini-batch, and which of the clients it is."""

    row: int
    batch: Mapping[str, Tensor]


def passes(batches: Sequence[Mapping[str, Tensor]], rule: Rule) -> list[list[Slice]]:
    """Return what goes through the model together, one mini-batch per client.

    Each mini-batch whole, or its texts, shortest first, in 2, 4, 8 … equal slices:
    whichever costs least by the rule. That follows from the texts' lengths alone.
    """
    lengths = [text_lengths(batch) if rule.cuts else None for batch in batches]
    shapes = [shape(batch) for batch in batches]
    best = [[(index, 1, 0) for index in group] for group in groups(shapes, rule)]
    lowest = sum(_cost([shapes[i] for i, _, _ in group], rule) for group in best)
    num_slices = 2
    while any(_divides(num_slices, known) for known in lengths):
        places, cut = _cut(shapes, lengths, num_slices)
        found = groups(cut, rule)
        cost = sum(_cost([cut[i] for i in group], rule) for group in found)
        if cost < lowest:
            lowest = cost
            best = [[places[i] for i in group] for group in found]
        num_slices *= 2
    return [
        [Slice(row, _taken(batches[row], lengths[row], *part)) for row, *part in group]
        for group in best
    ]


def text_lengths(batch: Mapping[str, Tensor]) -> NDArray[np.int64] | None:
    """Return how long each text is without its padding; None where that is unclear.

    It is clear where an attention mask has all its zeros, without labels, at the end.
    """
    if "input_ids" not in batch or "attention_mask" not in batch:
        return None
    used = batch["attention_mask"].cpu().numpy() != 0
    labels = batch["labels"].cpu().numpy()
    if labels.ndim == 2 and ((labels != IGNORED) & ~used).any():
        return None
    lengths: NDArray[np.int64] = used.sum(1)
    if (
        used.ndim != 2
        or not (used == (np.arange(used.shape[1]) < lengths[:, None])).all()
    ):
        return None
    return np.maximum(lengths, 1)


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
    """Return each slice's place (client, number of slices, which one) and shape."""
    places, cut = [], []
    for row, (whole, known) in enumerate(zip(shapes, lengths, strict=True)):
        if known is None or not _divides(num_slices, known):
            places.append((row, 1, 0))
            cut.append(whole)
            continue
        longest = np.sort(known).reshape(num_slices, -1)[:, -1]
        for which, length in enumerate(longest.tolist()):
            places.append((row, num_slices, which))
            cut.append(Shape(len(known) // num_slices, length))
    return places, cut


def _cost(group: Sequence[Shape], rule: Rule) -> int:
    """Return what a pass costs, in positions."""
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
