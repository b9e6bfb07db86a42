"""Counting what a model costs, on the model itself.

FLOP are those of matrix products and convolutions (two per multiply-add), forward and
backward of one sample with eager attention, as ``torch.utils.flop_counter`` sees them.
Adapter work is linear in the rank, so two ranks give it at every rank. For texts all
counts are quadratic in the length, so three lengths give them at every length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from fl.backbones import Backbone, read
from fl.costs.curves import Curve, Lengths, fitted, padded_lengths
from fl.costs.model_costs import ModelCosts, Moved
from fl.model.adapters import Layout, LoraSettings
from fl.model.payload import Extent, Shape
from fl.settings.local_training import TrainingSettings
from fl.tasks import Source, Task

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

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
    task: Source, backbone: Backbone, lora: LoraSettings, training: TrainingSettings
) -> ModelCosts:
    """Return the costs of a model, which is made twice for it."""
    ready = read(task, backbone)
    batch_size = training.per_device_train_batch_size

    def at_rank(rank: int) -> AtRank:
        base = backbone.load(task)
        base.set_attn_implementation("eager")
        return counted_at(
            base,
            lora.model_copy(update={"r": rank}),
            partial(_probe, ready),
            TEXT_LENGTHS if task.max_length else (0,),
            batch_size=batch_size,
        )

    low, high = map(at_rank, RANKS)
    return assembled(low, high, padded_lengths(ready, batch_size), training)


def assembled(
    low: AtRank, high: AtRank, lengths: Lengths, training: TrainingSettings
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
    )


def _by_rank(low: Curve, high: Curve) -> tuple[Curve, Curve]:
    """Return a count at rank 0 and its growth per rank, from those at ranks 1 and 2."""
    slope = np.subtract(high, low)
    return Curve(*np.subtract(low, slope).tolist()), Curve(*slope.tolist())


def counted_at(
    base: PreTrainedModel,
    lora: LoraSettings,
    probe: Callable[[int, int], dict[str, Tensor]],
    lengths: tuple[int, ...],
    *,
    batch_size: int,
    device: str = "cpu",
) -> AtRank:
    """Return the counts at one rank, of one sample and of one mini-batch.

    ``probe`` makes a mini-batch of a length and a size; a single length has no curve.
    """
    from fl.model.lora_model import LoraModel

    weights = list(base.parameters())
    base_parameters = sum(weight.numel() for weight in weights)
    base_bytes = sum(weight.nbytes for weight in weights)
    lora_model = LoraModel(base, lora, seed=0, device=device)
    flop = [_step_flop(lora_model, probe(length, 1)) for length in lengths]
    saved = [_saved_bytes(lora_model, probe(length, batch_size)) for length in lengths]
    moved = [_moved(lora_model, probe, length, batch_size) for length in lengths]
    return AtRank(
        flop=_curve(lengths, flop),
        saved=_curve(lengths, saved),
        moved=tuple(_curve(lengths, one) for one in zip(*moved, strict=True)),
        layout=lora_model.layout,
        base_parameters=base_parameters,
        base_bytes=base_bytes,
    )


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


def _step_flop(lora_model: LoraModel, batch: dict[str, Tensor]) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        loss, _ = lora_model.forward(batch)
        loss.backward()  # type: ignore[no-untyped-call]
    return int(counter.get_total_flops())


def _moved(
    lora_model: LoraModel,
    probe: Callable[[int, int], dict[str, Tensor]],
    length: int,
    batch_size: int,
) -> Moved:
    """Return what forward and backward of a mini-batch move, from two small ones."""
    from fl.costs.movement import MovementCounter

    found = []
    for size in SIZES:
        with MovementCounter() as counter:
            loss, _ = lora_model.forward(probe(length, size))
            loss.backward()  # type: ignore[no-untyped-call]
        found.append(counter.moved)
    few, more = found
    grown = batch_size - SIZES[0]
    return Moved(*(a + grown * (b - a) for a, b in zip(few, more, strict=True)))


def _saved_bytes(lora_model: LoraModel, batch: dict[str, Tensor]) -> int:
    """Return the bytes that autograd keeps, weights left out, shared memory once."""
    from torch.autograd.graph import saved_tensors_hooks

    weights = {_storage(p) for p in lora_model.model.parameters()}
    saved: dict[int, int] = {}
    kept = []  # an address names a storage only while it lives

    def keep(tensor: Tensor) -> Tensor:
        if _storage(tensor) not in weights:
            saved[_storage(tensor)] = tensor.untyped_storage().nbytes()
            kept.append(tensor)
        return tensor

    with lora_model.lora_dropout(), saved_tensors_hooks(keep, lambda tensor: tensor):
        lora_model.forward(batch)
    return sum(saved.values())


def _storage(tensor: Tensor) -> int:
    """Return what names a tensor's storage, also on the meta device without memory."""
    return int(tensor.untyped_storage()._cdata)
