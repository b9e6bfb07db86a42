"""Grouping of clients into passes through the model, by mini-batch shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from fl.model.device import numbers_at_once
from fl.tasks.tokens import IGNORED

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class PassRule:
    """When clients share a pass through the model; it depends on shapes, not on time.

    A position is one token or image patch of one sample.
    """

    max_positions: int  # of a pass; more would exceed caches or memory
    pass_cost: int  # fixed cost of a pass, in positions
    positions_per_image: int = 1
    slices_texts: bool = True  # whether a mini-batch may be split over passes


class Shape(NamedTuple):
    """The number of samples of a batch, and their padded length in tokens."""

    size: int
    length: int


ONE_CLIENT_PER_PASS = PassRule(max_positions=1, pass_cost=0, slices_texts=False)


def pass_rule(device: str, *, width: int, positions_per_image: int) -> PassRule:
    """Return the rule for a model with layers of this width on a kind of device.

    Measured on one core (tests/benchmarks/training.py): the fixed cost of a pass equals
    30 (BERT, width 384) to 200 (ViT, width 64) positions. The much larger figure for
    accelerators is assumed.
    """
    return PassRule(
        max_positions=numbers_at_once(device) // width,
        pass_cost=64 if device == "cpu" else 4_096,
        positions_per_image=positions_per_image,
    )


def length(batch: Mapping[str, Tensor]) -> int:
    """Return the padded length of a batch in tokens; 1 for images."""
    return batch["input_ids"].shape[1] if "input_ids" in batch else 1


def shape(batch: Mapping[str, Tensor]) -> Shape:
    """Return the shape of a batch."""
    return Shape(len(batch["labels"]), length(batch))


def group_clients(shapes: Sequence[Shape], rule: PassRule) -> list[list[int]]:
    """Return the indices of the batches of each pass.

    Batches of a pass have the same size, and similar lengths so that little is padded.
    """
    order = sorted(range(len(shapes)), key=lambda i: shapes[i])
    found: list[list[int]] = []
    for index in order:
        if found and _fits(len(found[-1]), shapes[found[-1][-1]], shapes[index], rule):
            found[-1].append(index)
        else:
            found.append([index])
    return found


def _fits(num_before: int, before: Shape, last: Shape, rule: PassRule) -> bool:
    """Return whether one more client, with the longest texts, may join a group.

    The padding that it adds to the others must not cost more than a separate pass.
    """
    if before.size != last.size:
        return False
    positions = (num_before + 1) * last.size * last.length * rule.positions_per_image
    padding = num_before * last.size * (last.length - before.length)
    return positions <= rule.max_positions and padding <= rule.pass_cost


def join_batches(
    batches: Sequence[Mapping[str, Tensor]], pad_token_id: int
) -> dict[str, Tensor]:
    """Return one batch of several; texts are padded to the longest."""
    import torch
    from torch.nn.functional import pad

    longest = max(length(batch) for batch in batches)
    if any(length(batch) != longest for batch in batches):
        batches = [_masked(batch) for batch in batches]
    filler = {"labels": IGNORED, "input_ids": pad_token_id}
    result = {}
    for name in batches[0]:
        tensors = [batch[name] for batch in batches]
        if "input_ids" in batches[0] and tensors[0].dim() == 2:
            tensors = [
                pad(t, (0, longest - t.shape[1]), value=filler.get(name, 0))
                for t in tensors
            ]
        result[name] = torch.cat(tensors)
    return result


def _masked(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the batch with an attention mask, as padding needs one."""
    import torch

    mask = batch.get("attention_mask", torch.ones_like(batch["input_ids"]))
    return {**batch, "attention_mask": mask}
