"""Counting what a model costs, on the model itself.

FLOP are those of matrix products and convolutions (two per multiply-add), forward and
backward of one sample with eager attention, as ``torch.utils.flop_counter`` sees them.
Adapter work is linear in the rank, so two ranks give it at every rank. For texts these
counts are quadratic in the length, so three lengths give them at every length. Blocks
of rows and large results are not: a mini-batch of the mean length gives them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fl.backbones import Backbone, read
from fl.costs.curves import Curve, Lengths, fitted, padded_lengths
from fl.costs.model_costs import ModelCosts, Moved
from fl.model.adapters import Layout, LoraSettings
from fl.model.payload import Extent, PartName, Shape
from fl.settings.local_training import TrainingSettings
from fl.tasks import Source, Task

if TYPE_CHECKING:
    from torch import Tensor

    from fl.model.lora_model import LoraModel

RANKS = (1, 2)
SIZES = (2, 3)  # of mini-batches; some operations move less for a single sample
TEXT_LENGTHS = (8, 16, 24)


@dataclass(frozen=True, kw_only=True, slots=True)
class AtRank:
    """What was counted with adapters of one rank."""

    flop: Curve
    saved: Curve
    moved: tuple[Curve, ...]  # by a mini-batch, in the order of ``Moved``
    layout: Layout
    base_parameters: int
    base_bytes: int


def counted(
    task: Source,
    backbone: Backbone,
    lora: LoraSettings,
    training: TrainingSettings,
    trains: tuple[PartName, ...],
) -> ModelCosts:
    """Return the costs of a model that trains these parts, made twice for it."""
    from fl.model.lora_model import LoraModel

    ready = read(task, backbone)
    lengths = padded_lengths(ready, training.per_device_train_batch_size)

    def at_rank(rank: int) -> AtRank:
        base = backbone.load(task)
        base.set_attn_implementation("eager")
        return counted_at(
            LoraModel(base, lora.model_copy(update={"r": rank}), seed=0),
            partial(_probe, ready),
            TEXT_LENGTHS if task.max_length else (0,),
            mean_length=round(lengths.mean),
            training=training,
            trains=trains,
        )

    low, high = map(at_rank, RANKS)
    return assembled(low, high, lengths, training, trains)


def assembled(
    low: AtRank,
    high: AtRank,
    lengths: Lengths,
    training: TrainingSettings,
    trains: tuple[PartName, ...],
) -> ModelCosts:
    """Return the costs at every rank from the counts at ranks 1 and 2."""
    base_flop, flop_per_rank = _by_rank(low.flop, high.flop)
    saved, saved_per_rank = _by_rank(low.saved, high.saved)
    moved, moved_per_rank = (
        Moved(*(one.at(lengths.mean, lengths.mean_square) for one in curves))
        for curves in zip(*map(_by_rank, low.moved, high.moved), strict=True)
    )
    batch_size = training.per_device_train_batch_size
    return ModelCosts(
        base_flop=base_flop.at(lengths.mean, lengths.mean_square),
        flop_per_rank=flop_per_rank.at(lengths.mean, lengths.mean_square),
        base_flop_curve=base_flop,
        flop_per_rank_curve=flop_per_rank,
        lengths=lengths,
        base_parameters=low.base_parameters,
        base_bytes=low.base_bytes,
        adapted=tuple(Shape(*shape) for shape in low.layout.shapes.values()),
        rest=Extent.of(part for part in low.layout.parts if part.factor is None),
        saved_bytes=saved.at(lengths.longest),
        saved_bytes_per_rank=saved_per_rank.at(lengths.longest),
        batch_size=batch_size,
        samples_per_step=batch_size * training.gradient_accumulation_steps,
        moved=moved,
        moved_per_rank=moved_per_rank,
        trains=trains,
    )


def _by_rank(low: Curve, high: Curve) -> tuple[Curve, Curve]:
    """Return a count at rank 0 and its growth per rank, from those at ranks 1 and 2."""
    slope = np.subtract(high, low)
    return Curve(*np.subtract(low, slope).tolist()), Curve(*slope.tolist())


def counted_at(
    lora_model: LoraModel,
    probe: Callable[[int, int], dict[str, Tensor]],
    lengths: tuple[int, ...],
    *,
    mean_length: int,
    training: TrainingSettings,
    trains: tuple[PartName, ...],
) -> AtRank:
    """Return the counts at one rank, of one sample and of one mini-batch, where only
    these parts and whole modules are trained.

    ``probe`` makes a mini-batch of a length and a size; a single length has no curve.
    """
    layout = lora_model.layout
    trained = {"B" if part == "core" else part for part in trains}
    for part, parameter in zip(layout.parts, lora_model.parameters, strict=True):
        parameter.requires_grad_(part.factor is None or part.factor in trained)
    found = [
        [_passed(lora_model, probe(length, size), training.bf16) for size in SIZES]
        for length in lengths
    ]
    grown = training.per_device_train_batch_size - SIZES[0]
    flop, saved, *moved = zip(
        *(_of_batch(few, more, grown) for few, more in found), strict=True
    )
    real = probe(mean_length, training.per_device_train_batch_size)
    steep = _passed(lora_model, real, training.bf16).moved[-2:]
    adapter = {id(parameter) for parameter in lora_model.parameters}
    base = [p for p in lora_model.model.parameters() if id(p) not in adapter]
    return AtRank(
        flop=_curve(lengths, flop),
        saved=_curve(lengths, saved),
        moved=(*(_curve(lengths, one) for one in moved[:-2]), *map(Curve, steep)),
        layout=layout,
        base_parameters=sum(weight.numel() for weight in base),
        base_bytes=sum(weight.nbytes for weight in base),
    )


class Passed(NamedTuple):
    """What forward and backward of one mini-batch compute, keep and move."""

    flop: int
    saved: int
    moved: Moved


def _of_batch(few: Passed, more: Passed, grown: int) -> list[int]:
    """Return the FLOP of a sample, the bytes kept for a mini-batch and what it moves,
    from two small ones."""
    counts = zip((few.saved, *few.moved), (more.saved, *more.moved), strict=True)
    return [more.flop - few.flop, *(a + grown * (b - a) for a, b in counts)]


def _curve(lengths: Sequence[int], counts: Sequence[int]) -> Curve:
    return fitted(lengths, counts) if len(lengths) > 1 else Curve(counts[0])


def _probe(task: Task, length: int, size: int) -> dict[str, Tensor]:
    """Return a mini-batch of this length, whose content does not matter."""
    import torch

    samples = np.arange(len(task.labels("train")))
    if not task.max_length:
        return task.batch("train", np.resize(samples, size))
    real = task.batch("train", samples[:1])["input_ids"]
    tokens = real[:, :1].expand(size, length).contiguous()
    labels = tokens if task.objective == "causal" else torch.zeros_like(tokens[:, 0])
    ones = torch.ones_like(tokens)
    return {"input_ids": tokens, "attention_mask": ones, "labels": labels}


def _passed(lora_model: LoraModel, batch: dict[str, Tensor], bf16: bool) -> Passed:
    """Return what forward and backward cost; autograd's memory is counted without the
    weights, and shared memory once."""
    import torch
    from torch.autograd.graph import saved_tensors_hooks

    from fl.costs.movement import OperationCounter

    weights = {_storage(p) for p in lora_model.model.parameters()}
    saved: dict[int, int] = {}
    kept = []  # an address names a storage only while it lives

    def keep(tensor: Tensor) -> Tensor:
        if _storage(tensor) not in weights:
            saved[_storage(tensor)] = tensor.untyped_storage().nbytes()
            kept.append(tensor)
        return tensor

    with OperationCounter() as counter, lora_model.lora_dropout():
        kept_memory = saved_tensors_hooks(keep, lambda tensor: tensor)
        with kept_memory, lora_model.autocast(bf16):
            loss, _ = lora_model.forward(batch)
        torch.autograd.grad(loss, [p for p in lora_model.parameters if p.requires_grad])
    return Passed(counter.flop, sum(saved.values()), counter.moved)


def _storage(tensor: Tensor) -> int:
    """Return what names a tensor's storage, also on the meta device without memory."""
    return int(tensor.untyped_storage()._cdata)
