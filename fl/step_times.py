"""Step times of several small models on this host, with what each step computes.

Weights are random and texts constant; the training is netsim's own. ``UNSEEN`` is the
family that a law is judged on and never fitted to.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, cast, get_args

import numpy as np

from fl.backbones.families import cast_model, name_attention
from fl.contract import Work
from fl.costs.model_costs import BYTES_PER_NUMBER, OPTIMISER_STEPS
from fl.costs.movement import OperationCounter
from fl.model.adapters import LoraSettings
from fl.model.lora_model import LoraModel
from fl.settings.local_training import TrainingSettings
from fl.streams import torch_threads
from fl.tasks import Task
from fl.training.local_training import LocalJob, train

if TYPE_CHECKING:
    from torch import Tensor

Precision: TypeAlias = Literal["float32", "bfloat16"]  # of the frozen base
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
UNSEEN = "distilbert"
STEPS, TRIALS, RANK = 3, 5, 8
Batch: TypeAlias = tuple[int, int]  # samples and tokens; 0 tokens of images
TEXTS: tuple[Batch, ...] = (
    *((1, 16), (1, 64), (1, 256), (4, 32), (4, 128)),
    *((8, 64), (16, 32), (32, 16), (16, 128)),
)
SMALL = {
    "num_hidden_layers": 6,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
VIT = {"hidden_size": 192, "num_attention_heads": 3, "intermediate_size": 768}


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """A class of transformers with its configuration, what LoRA adapts, mini-batches
    and the module that is trained whole."""

    class_name: str
    config: Mapping[str, int]
    targets: tuple[str, ...]
    batches: Sequence[Batch] = TEXTS
    head: tuple[str, ...] = ()


MODELS: Mapping[str, Model] = {
    "vit": Model(
        class_name="ViTForImageClassification",
        config=VIT | {"image_size": 64, "patch_size": 8, "num_hidden_layers": 6},
        targets=("q_proj", "v_proj"),
        batches=((1, 0), (4, 0), (16, 0), (32, 0)),
        head=("classifier",),
    ),
    "vit-224": Model(
        class_name="ViTForImageClassification",
        config=VIT | {"num_hidden_layers": 12},
        targets=("q_proj", "v_proj"),
        batches=((1, 0), (4, 0), (8, 0)),
        head=("classifier",),
    ),
    "minilm": Model(
        class_name="BertForSequenceClassification",
        config={"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536},
        targets=("query", "value"),
        head=("classifier",),
    ),
    "gpt2": Model(
        class_name="GPT2LMHeadModel",
        config=SMALL | {"n_embd": 256, "n_layer": 6, "n_head": 8, "vocab_size": 8000},
        targets=("c_attn",),
    ),
    "llama": Model(
        class_name="LlamaForCausalLM",
        config=SMALL
        | {"hidden_size": 256, "vocab_size": 4000, "intermediate_size": 704}
        | {"num_attention_heads": 8, "num_key_value_heads": 4},
        targets=("q_proj", "v_proj"),
    ),
    "qwen2": Model(
        class_name="Qwen2ForCausalLM",
        config=SMALL
        | {"hidden_size": 448, "vocab_size": 16000, "intermediate_size": 1216}
        | {"num_attention_heads": 14, "num_key_value_heads": 2, "num_hidden_layers": 8},
        targets=("q_proj", "v_proj"),
    ),
    "distilbert": Model(
        class_name="DistilBertForSequenceClassification",
        config={"dim": 512, "n_layers": 4, "n_heads": 8, "hidden_dim": 2048}
        | {"vocab_size": 20000},
        targets=("q_lin", "v_lin"),
        head=("pre_classifier", "classifier"),
    ),
}


class Setting(NamedTuple):
    """What a step is of; ``length`` is 0 for images."""

    model: str
    precision: Precision
    batch_size: int
    length: int


class StepTime(NamedTuple):
    """A setting's step: its median seconds and what it computes."""

    setting: Setting
    step_s: float
    work: Work


def settings(precision: Precision) -> list[Setting]:
    """Return all settings of a precision: every model and mini-batch."""
    return [
        Setting(name, precision, *batch)
        for name, model in MODELS.items()
        for batch in model.batches
    ]


def step_time(setting: Setting, threads: int = 1) -> StepTime:
    """Return the median step of a few participations by the CPU time of this thread,
    which other work on the host does not lengthen."""
    training = TrainingSettings(
        local_steps=STEPS, per_device_train_batch_size=setting.batch_size
    )
    with torch_threads(threads):
        trials_s = _trials_s(setting, training)
    return StepTime(setting, median(trials_s[1:]), counted(setting, training))


def counted(setting: Setting, training: TrainingSettings) -> Work:
    """Return what one step computes, counted on the meta device."""
    lora_model = _model(setting, "meta")
    with OperationCounter() as counter:
        loss, _ = lora_model.forward(_batch(setting, "meta"))
        loss.backward()  # type: ignore[no-untyped-call]
    numbers, operations = OPTIMISER_STEPS[training.optim]
    trained = lora_model.layout.num_numbers
    moved = counter.moved
    return Work(
        flop=counter.flop,
        half_flop=moved.half_flop,
        product_bytes=moved.product_bytes,
        other_bytes=moved.other_bytes + numbers * trained * BYTES_PER_NUMBER,
        operations=moved.operations + operations,
        blocks=moved.blocks,
        large_bytes=moved.large_bytes,
        steps=1,
    )


class _Constant:
    """A task whose every mini-batch is the same."""

    def __init__(self, content: dict[str, Tensor]) -> None:
        self._content = content

    def batch(self, split: str, indices: object) -> dict[str, Tensor]:
        return self._content


def _trials_s(setting: Setting, training: TrainingSettings) -> list[float]:
    """Return the CPU seconds per step of each participation; the first warms up."""
    lora_model = _model(setting, "cpu")
    task = cast(Task, _Constant(_batch(setting, "cpu")))
    job = LocalJob(
        client_id=0,
        start_index=0,
        steps=STEPS,
        start=lora_model.read(),
        samples=np.arange(setting.batch_size),
    )
    found = []
    for _ in range(TRIALS + 1):
        start_s = time.thread_time()
        train(lora_model, task, [job], settings=training, seed=0)
        found.append((time.thread_time() - start_s) / STEPS)
    return found


def _model(setting: Setting, device: str) -> LoraModel:
    """Return a model with random weights, on the meta device with eager attention."""
    import torch
    import transformers

    model = MODELS[setting.model]
    made: Any = getattr(transformers, model.class_name)
    config = made.config_class(**model.config)
    name_attention(config, "eager" if device == "meta" else None)
    with torch.random.fork_rng(), torch.device(device):
        torch.manual_seed(0)
        base = made(config)
    base.eval()
    if not model.head:
        base.loss_type = "ForCausalLM"
    cast_model(base, setting.precision)
    lora = LoraSettings(
        r=RANK, target_modules=model.targets, modules_to_save=model.head
    )
    return LoraModel(base, lora, seed=0, device=device)


def _batch(setting: Setting, device: str) -> dict[str, Tensor]:
    """Return a mini-batch of constant content."""
    import torch

    model, size = MODELS[setting.model], setting.batch_size
    zeros = torch.zeros(size, dtype=torch.long, device=device)
    if not setting.length:
        side = model.config.get("image_size", 224)
        pixels = torch.zeros(size, 3, side, side, device=device)
        return {"pixel_values": pixels, "labels": zeros}
    tokens = torch.ones((size, setting.length), dtype=torch.long, device=device)
    found = {"input_ids": tokens, "labels": zeros if model.head else tokens}
    if not (model.head and device == "meta"):  # an encoder looks into a mask
        found["attention_mask"] = torch.ones_like(tokens)
    return found
