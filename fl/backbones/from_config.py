"""A backbone of any transformers family, from a configuration and a seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pydantic import Field, field_validator

from fl.backbones.backbone import Precision
from fl.backbones.families import (
    family_config,
    model_from_config,
    prepared,
    require_length,
)
from fl.backbones.pretraining import Pretraining, pretrained
from fl.backbones.tokenizers import LoadedTokenizer, bpe_tokenizer
from fl.memory import recipe
from fl.record import Record
from fl.streams import forked
from fl.tasks import Source

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

Scalar: TypeAlias = bool | int | float | str | None
Setting: TypeAlias = Scalar | tuple[Scalar, ...] | dict[str, Scalar]

_RESERVED = {
    "vocab_size": "set backbone.vocab_size instead",
    "num_labels": "the task decides it",
    "model_type": "set backbone.model_type instead",
    "dtype": "set backbone.dtype instead",
    "torch_dtype": "set backbone.dtype instead",
}


class FromConfig(Record):
    """Any transformers family at any size, randomly initialised from ``seed``.

    ``config`` sets values of the family's configuration, such as ``hidden_size``. A
    byte-level BPE tokenizer with up to ``vocab_size`` tokens is trained on the training
    texts. ``pretraining`` first trains all weights on the task's public samples.
    """

    kind: Literal["config"] = "config"
    model_type: str = Field(min_length=1)
    config: dict[str, Setting] = Field(default_factory=dict)
    vocab_size: int = Field(default=2_000, ge=300)
    dtype: Precision = "float32"
    seed: int = Field(default=0, ge=0)
    pretraining: Pretraining | None = None

    @field_validator("config")
    @classmethod
    def _check_config(cls, value: dict[str, Setting]) -> dict[str, Setting]:
        for name, remedy in _RESERVED.items():
            if name in value:
                raise ValueError(f"must not set {name!r}: {remedy}")
        return value

    def digest(self, task: Source) -> str:
        """Return the digest of the settings and of what the task determines."""
        tokenizer = self.tokenizer(task)
        made = {
            "model": recipe.settings(self),
            "objective": task.objective,
            "num_labels": task.num_labels,
            "tokenizer": None if tokenizer is None else tokenizer.digest,
            "task": None if self.pretraining is None else task.digest,
        }
        return recipe.digest("config 1", made)

    def tokenizer(self, task: Source) -> LoadedTokenizer | None:
        """Return a tokenizer trained on the task's texts."""
        if task.objective == "image-classification":
            return None
        return bpe_tokenizer(task, self.vocab_size)

    def load(self, task: Source) -> PreTrainedModel:
        """Return the model, pre-trained on public samples if the settings say so."""
        config = self._config(task)
        require_length(task, config)
        with forked(self.seed, "config init"):
            model = model_from_config(config, task)
        if self.pretraining is not None:
            ready = task.read_by(self.tokenizer(task))
            key, parts = self.digest(task), (self, task)
            pretrained(model, ready, self.pretraining, key, parts=parts)
        return prepared(model, task, self.dtype)

    def _config(self, task: Source) -> PretrainedConfig:
        values: dict[str, Any] = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in self.config.items()
        }
        tokenizer = self.tokenizer(task)
        if tokenizer is not None:
            loaded = tokenizer.loaded
            values |= {
                "vocab_size": len(loaded),
                "pad_token_id": loaded.pad_token_id,
                "bos_token_id": loaded.cls_token_id,
                "eos_token_id": tokenizer.end_id,
            }
        config = family_config(self.model_type, values, task)
        if task.num_labels:
            config.num_labels = task.num_labels
            config.problem_type = "single_label_classification"
        return config
