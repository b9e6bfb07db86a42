"""A small vision transformer for 8 x 8 images, pre-trained on some classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, model_validator

from fl.backbones.pretraining import Pretraining, load_or_make, train_all_weights
from fl.memory import recipe
from fl.record import Record
from fl.streams import forked
from fl.tasks import Source, Task, Tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class SmallViT(Record):
    """A vision transformer for 8 x 8 images, pre-trained on some of the classes.

    It is trained once, on the public samples of ``pretrain_classes``, and cached. Its
    head has an output for every class.
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
    def _check_num_heads(self) -> SmallViT:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size must be a multiple of num_attention_heads, got "
                f"{self.hidden_size} and {self.num_attention_heads}"
            )
        return self

    def digest(self, task: Source) -> str:
        """Return the digest of the settings and of the data."""
        return recipe.digest(
            "small-vit 1", {"task": task.digest, "model": recipe.settings(self)}
        )

    def tokenizer(self, task: Source) -> Tokenizer | None:
        """Return None, since the model takes images."""
        if task.objective != "image-classification":
            raise ValueError(
                f"backbone 'small-vit' classifies images, and the task is "
                f"{task.objective}; use 'config' or 'pretrained'"
            )
        return None

    def load(self, task: Source) -> PreTrainedModel:
        """Return the pre-trained model, from the cache if it is there intact."""
        images = task.read_by(self.tokenizer(task))
        model = self._initialised(task)
        load_or_make(
            model,
            self.digest(task),
            lambda: self._pretrain(model, images),
            parts=(self, task),
        )
        model.eval()  # type: ignore[no-untyped-call]
        return model

    def _pretrain(self, model: PreTrainedModel, images: Task) -> None:
        wanted = np.isin(images.labels("public"), self.pretrain_classes)
        samples = np.flatnonzero(wanted)
        if not len(samples):
            raise ValueError(
                f"backbone.pretrain_classes {self.pretrain_classes}: the task has none"
            )
        if self.pretrain_steps:
            settings = Pretraining(steps=self.pretrain_steps, seed=self.pretrain_seed)
            train_all_weights(model, images, settings, samples)

    def _initialised(self, task: Source) -> PreTrainedModel:
        from transformers import ViTConfig, ViTForImageClassification

        config = ViTConfig(
            hidden_size=self.hidden_size,
            num_hidden_layers=self.num_hidden_layers,
            num_attention_heads=self.num_attention_heads,
            intermediate_size=self.intermediate_size,
            image_size=8,
            patch_size=2,
            num_channels=1,
            # The default of 0.02 is for width 768; at width 64 LoRA can then hardly
            # learn the classes that pre-training left out.
            initializer_range=0.1,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        config.num_labels = task.num_labels
        with forked(self.pretrain_seed, "vit init"):
            return ViTForImageClassification(config)
