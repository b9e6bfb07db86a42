"""A base model of any transformers family, from a configuration and a seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pydantic import Field, field_validator

from fl.backbones.backbone import Precision
from fl.backbones.families import built, finished, fresh_config, require_length
from fl.backbones.pretraining import Pretraining, pretrained
from fl.backbones.tokenizers import LoadedTokenizer, trained_tokenizer
from fl.memory import recipe
from fl.record import Record
from fl.streams import forked
from fl.tasks import Source, Tokenizer

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

Scalar: TypeAlias = bool | int | float | str | None
Setting: TypeAlias = Scalar | tuple[Scalar, ...] | dict[str, Scalar]

_DECIDED_HERE = {
    "vocab_size": "set backbone.vocab_size instead",
    "num_labels": "the task decides it",
    "model_type": "set backbone.model_type instead",
    "dtype": "set backbone.dtype instead",
    "torch_dtype": "set backbone.dtype instead",
}


class FromConfig(Record):
    """Any transformers family at any size, randomly initialised from ``seed``.

    ``config`` sets what that family's configuration has, such as ``hidden_size``. A
    byte-level BPE tokenizer learns up to ``vocab_size`` words of the training texts.
    ``pretraining`` teaches all weights the task's public samples first.
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
    def _leaves_the_rest_alone(cls, value: dict[str, Setting]) -> dict[str, Setting]:
        for name, remedy in _DECIDED_HERE.items():
            if name in value:
                raise ValueError(f"must not set {name!r}: {remedy}")
        return value

    def digest(self, task: Source) -> str:
        """Return the digest of the settings and of what the task adds to them."""
        words = self._words(task)
        made = {
            "model": recipe.settings(self),
            "objective": task.objective,
            "num_labels": task.num_labels,
            "tokenizer": None if words is None else words.digest,
            "task": None if self.pretraining is None else task.digest,
        }
        return recipe.digest("config 1", made)

    def tokenizer(self, task: Source) -> Tokenizer | None:
        """Return a tokenizer that learns the task's own words."""
        return self._words(task)

    def load(self, task: Source) -> PreTrainedModel:
        """Return the model, pre-trained on public samples where that is asked."""
        config = self._config(task)
        require_length(task, config)
        with forked(self.seed, "config init"):
            model = built(config, task)
        if self.pretraining is not None:
            ready = task.read_by(self._words(task))
            pretrained(model, ready, self.pretraining, self.digest(task))
        return finished(model, task, self.dtype)

    def _words(self, task: Source) -> LoadedTokenizer | None:
        if task.objective == "image-classification":
            return None
        return trained_tokenizer(task, self.vocab_size)

    def _config(self, task: Source) -> PretrainedConfig:
        values: dict[str, Any] = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in self.config.items()
        }
        words = self._words(task)
        if words is not None:
            known = words.loaded
            values |= {
                "vocab_size": len(known),
                "pad_token_id": known.pad_token_id,
                "bos_token_id": known.cls_token_id,
                "eos_token_id": words.end_id,
            }
        config = fresh_config(self.model_type, values, task)
        if task.num_labels:
            config.num_labels = task.num_labels
            config.problem_type = "single_label_classification"
        return config
