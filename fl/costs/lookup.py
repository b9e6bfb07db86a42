"""What is known of a model's costs, looked up in the cache or counted once."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib import metadata
from typing import TypeAlias

from pydantic import TypeAdapter

from fl.backbones import Backbone
from fl.costs.model_costs import ModelCosts
from fl.costs.timing import TimingAs, model_values
from fl.memory import recipe
from fl.memory.code import code_digest
from fl.memory.files import kept, recall
from fl.memory.recipe import Json
from fl.model.adapters import LoraSettings
from fl.model.payload import PartName
from fl.settings.local_training import TrainingSettings
from fl.tasks import Source

Trains: TypeAlias = tuple[PartName, ...]
BOTH: Trains = ("B", "A")


def known_costs(
    task: Source,
    backbone: Backbone,
    *,
    lora: LoraSettings,
    training: TrainingSettings,
    trains: Trains = BOTH,
) -> ModelCosts | None:
    """Return the costs where they were counted before; never imports torch."""
    content = recall(_cache_name(task, backbone, lora, training, trains))
    return None if content is None else _read(content)


def count_costs(
    task: Source,
    backbone: Backbone,
    *,
    lora: LoraSettings,
    training: TrainingSettings,
    trains: Trains = BOTH,
) -> ModelCosts:
    """Return the costs, counted on the model where they are not known yet."""

    def made() -> bytes:
        from fl.costs.counting import counted

        return _written(counted(task, backbone, lora, training, trains))

    return _read(kept(_cache_name(task, backbone, lora, training, trains), made))


def known_timing(
    timing: TimingAs,
    lora: LoraSettings,
    training: TrainingSettings,
    trains: Trains = BOTH,
) -> ModelCosts | None:
    """Return the costs where they were counted before; never imports torch."""
    content = recall(_timing_name(timing, lora, training, trains))
    return None if content is None else _read(content)


def count_timing(
    timing: TimingAs,
    lora: LoraSettings,
    training: TrainingSettings,
    trains: Trains = BOTH,
) -> ModelCosts:
    """Return the costs, counted on the meta device where they are not known yet."""

    def made() -> bytes:
        from fl.costs.meta import counted_on_meta

        values = model_values(timing.model)
        return _written(
            counted_on_meta(values, timing, timing.adapters(lora), training, trains)
        )

    return _read(kept(_timing_name(timing, lora, training, trains), made))


def _read(content: bytes) -> ModelCosts:
    return TypeAdapter(ModelCosts).validate_json(content)


def _written(costs: ModelCosts) -> bytes:
    return json.dumps(asdict(costs), indent=1).encode()


def _cache_name(
    task: Source,
    backbone: Backbone,
    lora: LoraSettings,
    training: TrainingSettings,
    trains: Trains,
) -> str:
    settings = {
        "base": backbone.digest(task),
        "task": task.digest,
        "code": code_digest(["fl.costs.counting"], [task, backbone]),
        **_shared(lora, training, trains),
    }
    return f"{recipe.digest('facts', settings)}.json"


def _timing_name(
    timing: TimingAs, lora: LoraSettings, training: TrainingSettings, trains: Trains
) -> str:
    values: Json = dict(model_values(timing.model))
    settings = {
        "model": values,
        "sequence_length": timing.sequence_length,
        "dtype": timing.dtype,
        "code": code_digest(["fl.costs.meta"]),
        **_shared(timing.adapters(lora), training, trains),
    }
    return f"{recipe.digest('timing', settings)}.json"


def _shared(
    lora: LoraSettings, training: TrainingSettings, trains: Trains
) -> dict[str, Json]:
    """Return what all counts depend on: not on the rank, and not on the optimiser."""
    return {
        "lora": recipe.settings(lora.model_copy(update={"r": 1})),
        "batch_size": training.per_device_train_batch_size,
        "accumulation": training.gradient_accumulation_steps,
        "bf16": training.bf16,
        "trains": list(trains),
        "versions": [metadata.version(n) for n in ("torch", "transformers", "peft")],
    }
