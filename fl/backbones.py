"""Base models: what is frozen under every client's adapter."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from pydantic import Field, model_validator

from fl import recipe
from fl.cache import recall, remember
from fl.record import Record
from fl.streams import forked, stream
from fl.tasks import Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Backbone(Protocol):
    """Makes the base model of a task."""

    def digest(self, task: Task) -> str:
        """Return the digest of the base model's recipe, without importing torch."""
        ...

    def load(self, task: Task) -> PreTrainedModel:
        """Return a new float32 model on the CPU, in eval mode."""
        ...


class SmallViT(Record):
    """A vision transformer for 8 x 8 images, pre-trained on some of the classes.

    It learns ``pretrain_classes`` of the task's public samples once and is kept in the
    cache folder; its head has an output for every class from the start.
    """

    kind: Literal["small-vit"] = "small-vit"
    hidden_size: int = Field(default=64, ge=1)
    num_hidden_layers: int = Field(default=3, ge=1)
    num_attention_heads: int = Field(default=4, ge=1)
    intermediate_size: int = Field(default=128, ge=1)
    pretrain_classes: tuple[int, ...] = Field(
        default=(0, 1, 2, 3, 4), min_length=1, strict=False
    )
    pretrain_steps: int = Field(default=300, ge=0)
    pretrain_seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> SmallViT:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size must be a multiple of num_attention_heads, got "
                f"{self.hidden_size} and {self.num_attention_heads}"
            )
        return self

    def digest(self, task: Task) -> str:
        """Return the digest of the settings and of the data."""
        return recipe.digest(
            "small-vit 1", {"task": task.digest, "model": recipe.settings(self)}
        )

    def load(self, task: Task) -> PreTrainedModel:
        """Return the pre-trained model, from the cache where it is there intact."""
        from safetensors.torch import load, save

        model = self._fresh(task)
        name = f"{self._cache_key(task)}.safetensors"
        content = recall(name)
        if content is None:
            with _one_thread():
                _pretrain(model, task, self)
            content = save(model.state_dict())
            remember(name, content)
        model.load_state_dict(load(content))
        model.eval()  # type: ignore[no-untyped-call]
        return model

    def _cache_key(self, task: Task) -> str:
        versions = {name: metadata.version(name) for name in ("torch", "transformers")}
        code = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
        return recipe.digest(
            "backbone", {"recipe": self.digest(task), "code": code, **versions}
        )

    def _fresh(self, task: Task) -> PreTrainedModel:
        from transformers import ViTConfig, ViTForImageClassification

        config = ViTConfig(
            hidden_size=self.hidden_size,
            num_hidden_layers=self.num_hidden_layers,
            num_attention_heads=self.num_attention_heads,
            intermediate_size=self.intermediate_size,
            image_size=8,
            patch_size=2,
            num_channels=1,
            # the default 0.02 is meant for width 768; at 64 it leaves features that
            # LoRA can hardly move to the classes not seen
            initializer_range=0.1,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        config.num_labels = task.num_labels
        with forked(self.pretrain_seed, "vit init"):
            return ViTForImageClassification(config)


BACKBONES = {"small-vit": SmallViT}


def _pretrain(model: PreTrainedModel, task: Task, settings: SmallViT) -> None:
    """Train every weight on the public samples of some classes, in place."""
    import torch

    samples = np.flatnonzero(np.isin(task.labels("public"), settings.pretrain_classes))
    if not len(samples):
        raise ValueError(
            f"backbone.pretrain_classes {settings.pretrain_classes}: the task has none"
        )
    rng = stream(settings.pretrain_seed, "pretrain batch")
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    model.train()
    for _ in range(settings.pretrain_steps):
        batch = task.batch("public", rng.choice(samples, size=32))
        optimiser.zero_grad()
        model(**batch).loss.backward()
        optimiser.step()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread, so that the result depends on no setting."""
    import torch

    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)
