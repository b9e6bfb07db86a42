"""Counting a model that is never loaded: shapes on torch's meta device, no numbers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from fl.backbones.families import cast_model, first_line, name_attention
from fl.costs.counting import RANKS, TEXT_LENGTHS, AtRank, assembled, counted_at
from fl.costs.curves import Lengths
from fl.costs.model_costs import ModelCosts
from fl.costs.timing import TimingAs
from fl.model.adapters import LoraSettings
from fl.model.lora_model import LoraModel
from fl.model.payload import PartName
from fl.settings.local_training import TrainingSettings

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PretrainedConfig, PreTrainedModel


def counted_on_meta(
    values: Mapping[str, Any],
    timing: TimingAs,
    lora: LoraSettings,
    training: TrainingSettings,
    trains: tuple[PartName, ...],
) -> ModelCosts:
    """Return the costs of a model of which only the configuration is known."""
    length = timing.sequence_length

    def at_rank(rank: int) -> AtRank:
        base = meta_model(values, timing)
        is_classifier = base.get_output_embeddings() is None  # type: ignore[no-untyped-call]
        ranked = lora.model_copy(update={"r": rank})
        return counted_at(
            LoraModel(base, ranked, seed=0, device="meta"),
            partial(_probe, is_classifier=is_classifier),
            TEXT_LENGTHS,
            mean_length=length,
            training=training,
            trains=trains,
        )

    try:
        low, high = map(at_rank, RANKS)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"timing_as: {timing.model}: {first_line(error)}") from error
    lengths = Lengths(float(length), float(length * length), length)
    return assembled(low, high, lengths, training, trains)


def meta_model(values: Mapping[str, Any], timing: TimingAs) -> PreTrainedModel:
    """Return the model in its precision, with shapes and without numbers."""
    import torch
    import transformers
    from transformers import PreTrainedModel

    family, (name, *_) = values["model_type"], values["architectures"]
    made = getattr(transformers, str(name), None)
    is_known = family in transformers.CONFIG_MAPPING
    if not (is_known and isinstance(made, type) and issubclass(made, PreTrainedModel)):
        raise ValueError(f"transformers has no {name} of {family!r} models")
    config = transformers.CONFIG_MAPPING[family].from_dict(dict(values))
    _require_positions(config, timing)
    name_attention(config, "eager")
    with torch.device("meta"):
        model: PreTrainedModel = made(config)
    model.eval()  # type: ignore[no-untyped-call]
    cast_model(model, timing.dtype)
    return model


def _require_positions(config: PretrainedConfig, timing: TimingAs) -> None:
    """Refuse texts longer than the model has positions for."""
    positions = getattr(config, "max_position_embeddings", None)
    if positions is None:
        return
    if config.model_type == "roberta":  # counts them from behind its padding token
        positions -= config.pad_token_id + 1
    if timing.sequence_length > positions:
        raise ValueError(
            f"sequence_length must be at most the model's {positions} positions, got "
            f"{timing.sequence_length}"
        )


def _probe(length: int, size: int, *, is_classifier: bool) -> dict[str, Tensor]:
    import torch

    tokens = torch.zeros((size, length), dtype=torch.long, device="meta")
    if is_classifier:  # an encoder looks into a mask, and here is nothing to see
        return {"input_ids": tokens, "labels": tokens[:, 0]}
    ones = torch.ones_like(tokens)  # without, a decoder looks for packed texts
    return {"input_ids": tokens, "attention_mask": ones, "labels": tokens}
