"""A run's adapter as a folder that loads by ``peft`` and ``transformers`` alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fl.backbones import Backbone
from fl.backbones.backbone import Origin
from fl.backbones.families import head_names, quiet_transformers
from fl.model.adapters import ALL_LINEAR, Adapter, LoraSettings
from fl.model.checkpoint import BASE_FOLDER, LOCAL_BASE, plain_module, write_checkpoint
from fl.model.model_card import CARD_FILE, Card, card_text
from fl.model.writing import tensors_written
from fl.tasks import Source

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

TASK_TYPES = {"text-classification": "SEQ_CLS", "causal": "CAUSAL_LM"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Exporter:
    """Writes adapters of one base model and task."""

    backbone: Backbone
    task: Source
    lora: LoraSettings
    with_base: bool = False

    def write(
        self, folder: Path, adapter: Adapter, folds: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Write adapter, tokenizer, model card and, where no file elsewhere has all its
        weights, the base model; return the folds under their modules' plain names."""
        base = self.backbone.load(self.task)
        origin: Origin | None = base.__dict__.get("origin")
        if origin is not None and (self.with_base or _lacks(origin, adapter)):
            made = Origin(
                name=LOCAL_BASE,
                revision=None,
                files=origin.files,
                licence=origin.licence,
                new_weights=frozenset(),
                has_mean_pooling=origin.has_mean_pooling,
            )
        else:
            made = origin or _own_origin()
        extra = self._config(adapter, base, made)
        write_checkpoint(folder, adapter, self.lora, extra)
        if made.name == LOCAL_BASE:
            write_base(folder, base)
        tokenizer = self.backbone.tokenizer(self.task)
        if tokenizer is not None:
            tokenizer.save(folder, max_length=self.task.max_length)
        text = card_text(self._card(base, origin, made, has_folds=bool(folds)))
        (folder / CARD_FILE).write_text(text, encoding="utf-8")
        return {plain_module(name): fold for name, fold in folds.items()}

    def _config(
        self, adapter: Adapter, base: PreTrainedModel, origin: Origin
    ) -> dict[str, Any]:
        """Return what PEFT's configuration says besides the settings of LoRA."""
        task_type = TASK_TYPES.get(self.task.objective)
        if task_type == "SEQ_CLS" and not adapter.rest():
            task_type = None  # PEFT asks an adapter of this type for its head
        found: dict[str, Any] = {
            "base_model_name_or_path": origin.name,
            "revision": origin.revision,
            "task_type": task_type,
        }
        if origin.has_mean_pooling:
            # for the encoder alone, whose head is no module of it
            found |= {"task_type": "FEATURE_EXTRACTION", "modules_to_save": None}
        elif task_type is None:
            found["auto_mapping"] = {
                "base_model_class": type(base).__name__,
                "parent_library": type(base).__module__,
            }
        if self.lora.peft_type == "lora":
            found["fan_in_fan_out"] = _is_transposed(base, adapter)
        if self.lora.target_modules == ALL_LINEAR:
            # what PEFT finds under this name depends on the class that loads it
            modules = adapter.layout.modules
            found["target_modules"] = [plain_module(name) for name in modules]
        return found

    def _card(
        self,
        base: PreTrainedModel,
        origin: Origin | None,
        made: Origin,
        *,
        has_folds: bool,
    ) -> Card:
        own_pad = getattr(base.config, "pad_token_id", None)
        is_text = self.task.objective != "image-classification"
        return Card(
            objective=self.task.objective,
            origin=made,
            copied_from=origin if made.name == LOCAL_BASE else None,
            num_labels=self.task.num_labels,
            dtype=str(next(base.parameters()).dtype).removeprefix("torch."),
            pad_token_id=own_pad if is_text else None,
            float_heads=() if made.has_mean_pooling else _float_heads(base),
            has_folds=has_folds,
        )


def _own_origin() -> Origin:
    """Return the origin of a base that the run made: its folder's copy alone."""
    return Origin(
        name=LOCAL_BASE,
        revision=None,
        files={},
        licence=None,
        new_weights=frozenset(),
        has_mean_pooling=False,
    )


def _lacks(origin: Origin, adapter: Adapter) -> bool:
    """Return whether neither the base's files nor the adapter hold a weight, such as
    that of a frozen head that was drawn from a seed."""
    saved = {part.module for part in adapter.layout.parts if part.factor is None}
    return any(name.rpartition(".")[0] not in saved for name in origin.new_weights)


def _is_transposed(base: PreTrainedModel, adapter: Adapter) -> bool:
    """Return whether adapted weights are stored [inputs, outputs], as GPT-2's are; PEFT
    warns where its configuration does not say so."""
    from transformers.pytorch_utils import Conv1D

    modules = adapter.layout.modules
    return all(isinstance(base.get_submodule(name), Conv1D) for name in modules)


def _float_heads(base: PreTrainedModel) -> tuple[str, ...]:
    """Return the head's modules where they are wider than the rest of the model."""
    body = next(base.parameters()).dtype
    found = {name: base.get_submodule(name) for name in head_names(base)}
    return tuple(n for n, m in found.items() if next(m.parameters()).dtype != body)


def write_base(folder: Path, base: PreTrainedModel) -> None:
    """Save the base model so that ``from_pretrained`` can load it; of a mean-pooled
    classifier its encoder."""
    from fl.backbones.mean_pooling import MeanPooledClassifier

    plain = base.body if isinstance(base, MeanPooledClassifier) else base
    with quiet_transformers(), tensors_written(folder / BASE_FOLDER):
        plain.save_pretrained(folder / BASE_FOLDER)
    config = json.loads((folder / BASE_FOLDER / "config.json").read_text())
    assert "auto_map" not in config, "a base model brings no code"
