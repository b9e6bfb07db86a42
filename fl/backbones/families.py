"""transformers model families: the classes for an objective, and their models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fl.backbones.backbone import Precision
from fl.tasks import Objective, Source
from fl.tasks.data_files import did_you_mean

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PretrainedConfig, PreTrainedModel

_AUTO = {
    "image-classification": "AutoModelForImageClassification",
    "text-classification": "AutoModelForSequenceClassification",
    "causal": "AutoModelForCausalLM",
}


def auto_class(objective: Objective) -> Any:
    """Return the transformers auto class for an objective."""
    import transformers

    return getattr(transformers, _AUTO[objective])


def family_config(
    model_type: str, values: Mapping[str, Any], task: Source
) -> PretrainedConfig:
    """Return a family's configuration with these values; raise on unknown names."""
    from transformers import CONFIG_MAPPING

    if model_type not in CONFIG_MAPPING:
        hint = did_you_mean(model_type, CONFIG_MAPPING)
        raise ValueError(
            f"backbone.model_type: transformers has no model type {model_type!r}{hint}"
        )
    known = CONFIG_MAPPING[model_type]()
    if type(known) not in auto_class(task.objective)._model_mapping:
        raise ValueError(
            f"backbone.model_type: transformers has no {model_type!r} for "
            f"{task.objective}, which the task needs"
        )
    names = sorted({*known.to_dict(), *known.attribute_map})
    for name in values:
        if name not in names:
            raise ValueError(
                f"backbone.config: {model_type!r} has no setting {name!r}"
                f"{did_you_mean(name, names)}"
            )
    try:
        return CONFIG_MAPPING[model_type](**values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"backbone.config: {first_line(error)}") from error


def model_from_config(config: PretrainedConfig, task: Source) -> PreTrainedModel:
    """Return a model with weights drawn from torch's global generator."""
    try:
        model: PreTrainedModel = auto_class(task.objective).from_config(config)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"backbone.config: {first_line(error)}") from error
    return model


def name_attention(config: PretrainedConfig, name: str | None) -> None:
    """Let no model's configuration choose the code that computes it: attention is of
    this name, by default transformers' own, and no kernel comes from the hub."""
    config._attn_implementation = name
    config._experts_implementation = None  # a kernel's name as well


def require_length(task: Source, config: PretrainedConfig) -> None:
    """Raise ``ValueError`` if the task's texts exceed the model's positions."""
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and task.max_length > positions:
        raise ValueError(
            f"task.max_length must be at most the model's {positions} positions, got "
            f"{task.max_length}"
        )


def prepared(
    model: PreTrainedModel, task: Source, precision: Precision
) -> PreTrainedModel:
    """Return the model in eval mode and this precision, its head in float32."""
    model.eval()  # type: ignore[no-untyped-call]
    if task.objective == "causal":
        # transformers infers it from the class name, which fails for GPT-2
        model.loss_type = "ForCausalLM"
    cast_model(model, precision)
    return model


def cast_model(model: PreTrainedModel, precision: Precision) -> None:
    """Cast a model in place, except for its head, which stays float32.

    Buffers that no file holds, such as rotary frequencies, stay as they are: so does
    ``from_pretrained`` with a dtype.
    """
    import torch

    if precision == "bfloat16":
        for tensor in model.state_dict(keep_vars=True).values():
            if tensor.is_floating_point():
                tensor.data = tensor.data.to(torch.bfloat16)
        for name in head_names(model):
            head = model.get_submodule(name)
            head.float()
            head.register_forward_pre_hook(_cast_to_weights)


def head_names(model: PreTrainedModel) -> list[str]:
    """Return the names of the classification head's modules, if there are any."""
    embeddings = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    if embeddings is not None:
        return []
    return [
        name
        for name, module in model.named_children()
        if name != model.base_model_prefix and any(True for _ in module.parameters())
    ]


def _cast_to_weights(
    module: nn.Module, inputs: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    dtype = next(module.parameters()).dtype
    return tuple(x.to(dtype) if x.is_floating_point() else x for x in inputs)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers: warnings of a newly initialised head, and bars."""
    from transformers.utils import logging

    verbosity, has_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if has_bar:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def first_line(error: Exception) -> str:
    """Return the beginning of a library's message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
