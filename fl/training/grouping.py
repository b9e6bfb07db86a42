"""Which clients go through the model together, by the shapes of their mini-batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from fl.training.losses import IGNORED

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """When a pass through the model takes one more client: by shapes, never by time.

    A position is one token, or one patch of an image, of one sample.
    """

    max_positions: int  # beyond them a pass outgrows the caches, or the memory
    pass_cost: int  # what a pass costs beside its positions, in positions
    positions_per_image: int = 1
    cuts: bool = True  # whether a mini-batch of unequal texts may go in several passes


class Shape(NamedTuple):
    """How many samples a batch has, and to how many tokens they are padded."""

    size: int
    length: int


ALONE = Rule(max_positions=1, pass_cost=0, cuts=False)


def rule_for(device: str, *, width: int, positions_per_image: int) -> Rule:
    """Return the rule of a model whose layers are so wide, on a kind of device.

    One core (tests/benchmarks/training.py): passes are best while one layer's output,
    positions x width, stays in the second-level cache (768 kB in float32), and cost as
    much as 30 (BERT, width 384) to 200 (ViT, width 64) positions beside those. On an
    accelerator both figures are guesses so far: larger by far.
    """
    numbers, pass_cost = (196_608, 64) if device == "cpu" else (2**26, 4_096)
    return Rule(
        max_positions=numbers // width,
        pass_cost=pass_cost,
        positions_per_image=positions_per_image,
    )


def length(batch: Mapping[str, Tensor]) -> int:
    """Return to how many tokens a batch of texts is padded; 1 for images."""
    return batch["input_ids"].shape[1] if "input_ids" in batch else 1


def shape(batch: Mapping[str, Tensor]) -> Shape:
    """Return the shape of a batch."""
    return Shape(len(batch["labels"]), length(batch))


def groups(shapes: Sequence[Shape], rule: Rule) -> list[list[int]]:
    """Return lists of indices of batches that go through the model together.

    Equal batch sizes only, shortest texts first, so that little is padded.
    """
    order = sorted(range(len(shapes)), key=lambda i: shapes[i])
    found: list[list[int]] = []
    for index in order:
        if found and _fits(len(found[-1]), shapes[found[-1][-1]], shapes[index], rule):
            found[-1].append(index)
        else:
            found.append([index])
    return found


def _fits(num_before: int, before: Shape, last: Shape, rule: Rule) -> bool:
    """Return whether a group may go through the model together with one client more.

    That one is the longest: the padding that it forces on the others must not cost
    more than a pass of its own.
    """
    if before.size != last.size:
        return False
    positions = (num_before + 1) * last.size * last.length * rule.positions_per_image
    padding = num_before * last.size * (last.length - before.length)
    return positions <= rule.max_positions and padding <= rule.pass_cost


def joined(
    batches: Sequence[Mapping[str, Tensor]], pad_token_id: int
) -> dict[str, Tensor]:
    """Return one batch of several, texts padded to the longest."""
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
    """Return the batch with an attention mask, which padding needs."""
    import torch

    mask = batch.get("attention_mask", torch.ones_like(batch["input_ids"]))
    return {**batch, "attention_mask": mask}
