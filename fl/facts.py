"""What one model with LoRA costs, counted once on the actual model.

FLOP are those of matrix products and convolutions (two per multiply-add), forward and
backward of one sample with eager attention, as ``torch.utils.flop_counter`` sees them.
Adapter work is linear in the rank, so two ranks give it at every rank.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import TYPE_CHECKING

import numpy as np

from fl import recipe
from fl.adapters import LoraSettings
from fl.backbones import Backbone
from fl.cache import recall, remember
from fl.tasks import Task
from fl.training import TrainingSettings

if TYPE_CHECKING:
    from torch import Tensor

    from fl.resident import ResidentModel

COUNTED_RANKS = (1, 2)
BYTES_PER_NUMBER = 4  # float32


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """Costs of one model, one set of adapted modules and one batch size.

    FLOP are per sample and local step; the two ``saved`` counts are the bytes that the
    forward pass keeps for the backward pass of one whole mini-batch.
    """

    base_flop: int
    flop_per_rank: int
    base_parameters: int
    lora_parameters_per_rank: int
    other_trainable_parameters: int
    saved_bytes: int
    saved_bytes_per_rank: int
    batch_size: int

    def num_trainable(self, rank: int) -> int:
        """Return how many numbers a client of this rank trains and sends."""
        return self.lora_parameters_per_rank * rank + self.other_trainable_parameters

    def training_flop(self, *, rank: int, steps: int) -> int:
        """Return the FLOP of one participation."""
        return steps * self.batch_size * (self.base_flop + self.flop_per_rank * rank)

    def training_memory_bytes(self, *, rank: int, training: TrainingSettings) -> int:
        """Return the bytes of weights, gradients, optimiser state and activations."""
        states = {"sgd": 0, "momentum": 1, "adamw": 2}[training.optim]
        numbers = self.base_parameters + self.num_trainable(rank) * (2 + states)
        activations = self.saved_bytes + self.saved_bytes_per_rank * rank
        return numbers * BYTES_PER_NUMBER + activations


def known_facts(
    task: Task, backbone: Backbone, *, lora: LoraSettings, training: TrainingSettings
) -> Facts | None:
    """Return the facts where they were counted before; never imports torch."""
    content = recall(_cache_name(task, backbone, lora=lora, training=training))
    return None if content is None else Facts(**json.loads(content))


def count_facts(
    task: Task, backbone: Backbone, *, lora: LoraSettings, training: TrainingSettings
) -> Facts:
    """Return the facts, counted on the model where they are not known yet."""
    known = known_facts(task, backbone, lora=lora, training=training)
    if known is not None:
        return known
    facts = _count(task, backbone, lora, training.per_device_train_batch_size)
    name = _cache_name(task, backbone, lora=lora, training=training)
    remember(name, json.dumps(asdict(facts), indent=1).encode())
    return facts


def _cache_name(
    task: Task, backbone: Backbone, *, lora: LoraSettings, training: TrainingSettings
) -> str:
    """Return an entry's name; the rank and the optimiser do not change the facts."""
    counted = {
        "base": backbone.digest(task),
        "lora": recipe.settings(lora.model_copy(update={"r": COUNTED_RANKS[0]})),
        "batch_size": training.per_device_train_batch_size,
        "versions": [metadata.version(n) for n in ("torch", "transformers", "peft")],
    }
    return f"{recipe.digest('facts 1', counted)}.json"


def _count(
    task: Task, backbone: Backbone, lora: LoraSettings, batch_size: int
) -> Facts:
    from fl.resident import ResidentModel

    flop, trainable, saved = [], [], []
    for rank in COUNTED_RANKS:
        base = backbone.load(task)
        base.set_attn_implementation("eager")
        num_base = sum(parameter.numel() for parameter in base.parameters())
        ranked = lora.model_copy(update={"r": rank})
        resident = ResidentModel(base, ranked, seed=0)
        samples = np.arange(len(task.labels("train")))
        flop.append(_step_flop(resident, task.batch("train", samples[:1])))
        batch = task.batch("train", np.resize(samples, batch_size))
        saved.append(_saved_bytes(resident, batch))
        trainable.append(resident.layout.num_numbers)
    base_flop, flop_per_rank = _line(flop)
    others, lora_per_rank = _line(trainable)
    saved_bytes, saved_bytes_per_rank = _line(saved)
    return Facts(
        base_flop=base_flop,
        flop_per_rank=flop_per_rank,
        base_parameters=num_base,
        lora_parameters_per_rank=lora_per_rank,
        other_trainable_parameters=others,
        saved_bytes=saved_bytes,
        saved_bytes_per_rank=saved_bytes_per_rank,
        batch_size=batch_size,
    )


def _line(values: Sequence[int]) -> tuple[int, int]:
    """Return the value at rank zero and the increase per rank."""
    first, second = COUNTED_RANKS
    slope, remainder = divmod(values[1] - values[0], second - first)
    assert remainder == 0
    return values[0] - slope * first, slope


def _step_flop(resident: ResidentModel, batch: dict[str, Tensor]) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        loss, _ = resident.forward(batch)
        loss.backward()  # type: ignore[no-untyped-call]
    return int(counter.get_total_flops())


def _saved_bytes(resident: ResidentModel, batch: dict[str, Tensor]) -> int:
    """Return the bytes that autograd keeps, weights left out, shared memory once."""
    from torch.autograd.graph import saved_tensors_hooks

    weights = {p.untyped_storage().data_ptr() for p in resident.model.parameters()}
    saved: dict[int, int] = {}
    kept = []  # an address names a storage only while it lives

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage.nbytes()
            kept.append(tensor)
        return tensor

    with resident.lora_dropout(), saved_tensors_hooks(keep, lambda tensor: tensor):
        resident.forward(batch)
    return sum(saved.values())
