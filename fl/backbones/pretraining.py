"""Pre-training of a small model on a task's public samples, cached on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import metadata
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fl.memory import recipe
from fl.memory.code import code_digest
from fl.memory.files import kept
from fl.record import Record
from fl.streams import forked, stream, torch_threads
from fl.tasks import Task

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


class Pretraining(Record):
    """Training of every weight with AdamW on the task's public samples."""

    steps: int = Field(default=300, ge=1)
    batch_size: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0, allow_inf_nan=False)
    seed: int = Field(default=0, ge=0)


def pretrained(
    model: PreTrainedModel,
    task: Task,
    settings: Pretraining,
    key: str,
    *,
    parts: Sequence[object],
) -> None:
    """Pre-train a model in place, or load the result cached under ``key`` and the code
    of these parts."""
    samples = np.arange(len(task.labels("public")))
    if not len(samples):
        raise ValueError("backbone.pretraining: the task has no public samples")
    load_or_make(
        model,
        key,
        lambda: train_all_weights(model, task, settings, samples),
        parts=parts,
    )


def load_or_make(
    model: PreTrainedModel,
    key: str,
    make_weights: Callable[[], None],
    *,
    parts: Sequence[object],
) -> None:
    """Load a model's weights from the cache, or make and cache them; they follow from
    the recipe ``key`` and the code of these parts."""
    from safetensors.torch import load, save

    def made() -> bytes:
        with torch_threads(1):  # more would change the weights
            make_weights()
        return save(_tensors(model))

    content = kept(f"{_cache_key(key, parts)}.safetensors", made)
    missing, unexpected = model.load_state_dict(load(content), strict=False)
    assert not unexpected
    assert set(missing) <= set(model.state_dict()) - set(_tensors(model))


def train_all_weights(
    model: PreTrainedModel,
    task: Task,
    settings: Pretraining,
    samples: NDArray[np.int64],
) -> None:
    """Train every weight in place on these public samples."""
    import torch

    rng = stream(settings.seed, "pretrain batch")
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, weight_decay=0.01
    )
    model.train()
    with forked(settings.seed, "pretrain dropout"):
        for _ in range(settings.steps):
            batch = task.batch("public", rng.choice(samples, size=settings.batch_size))
            optimiser.zero_grad()
            model(**batch).loss.backward()
            optimiser.step()


def _cache_key(key: str, parts: Sequence[object]) -> str:
    versions = {name: metadata.version(name) for name in ("torch", "transformers")}
    code = code_digest([__name__], parts)
    return recipe.digest("backbone", {"recipe": key, "code": code, **versions})


def _tensors(model: PreTrainedModel) -> dict[str, Tensor]:
    """Return the weights by name; tied weights occur under one name."""
    kept: dict[int, str] = {}
    state = model.state_dict()
    for name, tensor in state.items():
        kept.setdefault(tensor.data_ptr(), name)
    return {name: state[name] for name in kept.values()}
