"""Timing as another model: what a big one would cost while a small one learns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from fl.backbones.backbone import Precision
from fl.costs.shapes import SHAPES
from fl.memory.files import regular
from fl.model.adapters import LoraSettings
from fl.record import Record
from fl.tasks.data_files import did_you_mean

USUAL_TARGETS = {
    "bert": ("query", "value"),
    "roberta": ("query", "value"),
    "gpt2": ("c_attn",),
}


class TimingAs(Record):
    """A model that gives bits, FLOP and memory, counted on torch's meta device.

    ``model`` is a built-in name or a folder with a ``config.json``; no weights are
    read. Every sample is ``sequence_length`` tokens, in the mini-batches and steps of
    ``training``. ``r`` is the rank of full clients, by default that of ``lora``; a
    client that trains k of ``lora.r`` is timed at the same fraction of it, rounded up.
    Adapted are the modules named here, else those that ``lora`` names, else the
    family's queries and values; a classifier trains its head.
    """

    model: str = Field(min_length=1)
    sequence_length: int = Field(default=512, ge=1)
    target_modules: tuple[str, ...] = Field(default=(), min_length=1, strict=False)
    modules_to_save: tuple[str, ...] = Field(default=(), strict=False)
    r: int | None = Field(default=None, ge=1)
    dtype: Precision = "bfloat16"

    @model_validator(mode="before")
    @classmethod
    def _has_the_usual_modules(cls, fields: Any) -> Any:
        if not isinstance(fields, dict) or not isinstance(fields.get("model"), str):
            return fields
        try:
            return {**_usual_modules(model_values(fields["model"])), **fields}
        except ValueError:
            return fields  # the field itself says what is wrong

    @field_validator("model")
    @classmethod
    def _is_known(cls, value: str) -> str:
        model_values(value)
        return value

    def adapters(self, lora: LoraSettings) -> LoraSettings:
        """Return the big model's adapters, of the same kind as the small one's."""
        update = {
            "r": self.r or lora.r,
            "target_modules": self.target_modules,
            "modules_to_save": self.modules_to_save,
        }
        return lora.model_copy(update=update)

    def rank_of(self, rank: int, lora: LoraSettings) -> int:
        """Return the big model's rank for a client that trains ``rank`` of the r."""
        return -(-rank * (self.r or lora.r) // lora.r)

    def describe(self, lora: LoraSettings) -> str:
        """Return in one line which model this is, for a person."""
        return (
            f"{self.model} ({self.dtype}, {self.sequence_length} tokens, LoRA rank "
            f"{self.r or lora.r} on {', '.join(self.target_modules)}; never trained)"
        )


def with_modules_of_lora(fields: Any, key: str) -> Any:
    """Return the raw settings of learning whose timing model, under ``key``, adapts the
    modules that ``lora`` names, unless it names its own."""
    if not isinstance(fields, dict):
        return fields
    lora, timing = fields.get("lora"), fields.get(key)
    if not isinstance(lora, dict) or not isinstance(timing, dict):
        return fields
    names = ("target_modules", "modules_to_save")
    given = {name: lora[name] for name in names if name in lora}
    return {**fields, key: {**given, **timing}}


def model_values(model: str) -> Mapping[str, Any]:
    """Return a model's configuration values: a built-in's, or of a folder."""
    if model in SHAPES:
        return SHAPES[model]
    path = Path(model).expanduser() / "config.json"
    try:
        values = json.loads(regular(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(
            f"must be a built-in name or a folder with a config.json, got {model!r}"
            f"{did_you_mean(model, SHAPES)} (built in: {', '.join(SHAPES)})"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    needed = ("architectures", "model_type")
    if not isinstance(values, dict) or not all(values.get(name) for name in needed):
        raise ValueError(f"{path} must name its architectures and its model_type")
    return values


def _usual_modules(values: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the modules of queries and values, and the head that a classifier has."""
    is_classifier = str(values["architectures"][0]).endswith("SequenceClassification")
    return {
        "target_modules": USUAL_TARGETS.get(values["model_type"], ("q_proj", "v_proj")),
        "modules_to_save": ("classifier",) if is_classifier else (),
    }
