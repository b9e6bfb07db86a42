"""Evaluation of the model's adapter on a split."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, cast, get_args

import numpy as np
from numpy.typing import NDArray

from fl.contract import Score
from fl.model.device import numbers_at_once
from fl.model.evaluation_settings import EvaluationSettings
from fl.model.lora_model import LoraModel
from fl.tasks import Quiz, Split, Task
from fl.tasks.tokens import IGNORED, text_lengths

if TYPE_CHECKING:
    from torch import Tensor

BATCH_SIZE = 256
TOKENS_PER_BATCH = {"text-classification": 16_384, "causal": 4_096}
_SPLIT = re.compile(r"(\w+)(?:\[:(\d+)\])?")


def evaluate(
    lora_model: LoraModel,
    task: Task,
    split: str,
    settings: EvaluationSettings = EvaluationSettings(),  # noqa: B008  frozen
) -> Score:
    """Return the score of the model's adapter on a split such as ``test[:500]``."""
    name, indices = chosen_samples(task, split)
    return measured(lora_model, task, name, indices, settings=settings, shown=split)


def chosen_samples(task: Task, split: str) -> tuple[Split, NDArray[np.int64]]:
    """Return the split and the samples of a name such as ``test[:500]``."""
    match = _SPLIT.fullmatch(split)
    if match is None or match[1] not in get_args(Split):
        raise ValueError(
            f"a split is one of {', '.join(get_args(Split))}, or a part of it such as "
            f"'test[:500]', got {split!r}"
        )
    name = cast(Split, match[1])
    num_samples = len(task.labels(name))
    limit = num_samples if match[2] is None else min(int(match[2]), num_samples)
    if not limit:
        raise ValueError(f"the task has no samples in {split!r}")
    return name, np.arange(limit)


def measured(
    lora_model: LoraModel,
    task: Task,
    split: Split,
    indices: NDArray[np.int64],
    *,
    settings: EvaluationSettings,
    shown: str,
) -> Score:
    """Return the score of the model's adapter on these samples of a split."""
    import torch

    is_causal = task.objective == "causal"
    totals = np.zeros(3)  # loss, right answers, answers
    with torch.inference_mode(), lora_model.autocast(settings.bf16):
        for samples in even_batches(task, split, indices):
            batch = task.batch(split, samples)
            logits = _logits(lora_model, batch)
            loss = _mean_loss(logits, batch["labels"].to(logits.device))
            right, answers = _right(batch["labels"], logits, is_causal=is_causal)
            totals += loss.item() * answers, right, answers
        exact = None
        if settings.exact_match:
            exact = _exact_match(lora_model, task, split, indices, settings)
    loss_sum, num_right, num_answers = totals.tolist()
    mean_loss = loss_sum / num_answers
    return Score(
        split=shown,
        num_samples=len(indices),
        loss=mean_loss,
        accuracy=num_right / num_answers,
        perplexity=math.exp(min(mean_loss, 700.0)) if is_causal else None,
        exact_match=exact,
    )


def _logits(lora_model: LoraModel, batch: Mapping[str, Tensor]) -> Tensor:
    """Return the logits of a batch, computed in parts that are fast on the device."""
    import torch
    from torch.nn.functional import pad

    is_text = "input_ids" in batch
    length = batch["input_ids"].shape[1] if is_text else lora_model.positions_per_image
    at_once = numbers_at_once(lora_model.device.type)
    size = max(1, at_once // (length * lora_model.width))
    parts = []
    for start in range(0, len(batch["labels"]), size):
        part = {name: value[start : start + size] for name, value in batch.items()}
        logits = lora_model.logits(lora_model.placed(_trimmed(part)))
        if logits.dim() == 3:  # of texts: as wide as the batch
            logits = pad(logits, (0, 0, 0, length - logits.shape[1]))
        parts.append(logits)
    return torch.cat(parts)


def _trimmed(part: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return a part of a batch with less padding.

    Its length is a multiple of 16, the numbers in a processor's vector: so sums are
    taken in the same order, and the result is that of the whole batch to the bit.
    """
    lengths = text_lengths(part)
    if lengths is None:
        return part
    width, wanted = part["input_ids"].shape[1], -(-int(lengths.max()) // 16) * 16
    return {
        name: value[:, :wanted]
        if value.dim() >= 2 and value.shape[1] == width
        else value
        for name, value in part.items()
    }


def _mean_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the loss as the models of transformers compute it."""
    from torch.nn.functional import cross_entropy, pad

    if labels.dim() == 2:  # the token at t is predicted at t - 1
        logits = logits.float()
        labels = pad(labels[:, 1:], (0, 1), value=IGNORED)
    return cross_entropy(logits.flatten(0, -2), labels.flatten(), ignore_index=IGNORED)


def even_batches(
    task: Task, split: Split, indices: NDArray[np.int64]
) -> Iterator[NDArray[np.int64]]:
    """Yield the samples in batches of similar length, the longest first."""
    if task.objective == "image-classification":
        for start in range(0, len(indices), BATCH_SIZE):
            yield indices[start : start + BATCH_SIZE]
        return
    lengths = task.lengths(split, indices)
    order = np.argsort(-lengths, kind="stable")
    budget = TOKENS_PER_BATCH[task.objective]
    start = 0
    while start < len(order):
        longest = int(lengths[order[start]])
        size = min(max(budget // longest, 1), BATCH_SIZE)
        yield indices[order[start : start + size]]
        start += size


def _right(labels: Tensor, logits: Tensor, *, is_causal: bool) -> tuple[int, int]:
    answers = logits.argmax(-1).cpu()
    if is_causal:  # the token at t is predicted at t - 1
        labels, answers = labels[:, 1:], answers[:, :-1]
    counted = labels != IGNORED
    return int(((answers == labels) & counted).sum()), int(counted.sum())


def _exact_match(
    lora_model: LoraModel,
    task: Task,
    split: Split,
    indices: NDArray[np.int64],
    settings: EvaluationSettings,
) -> float:
    quiz = task.quiz()
    if quiz is None:
        raise ValueError(
            "evaluation.exact_match needs a task whose answers are texts, and this "
            f"one is {task.objective}"
        )
    num_right = 0
    for samples in even_batches(task, split, indices):
        answers = written(lora_model, quiz, split, samples, settings.max_new_tokens)
        num_right += quiz.num_right(split, samples, answers)
    return num_right / len(indices)


def written(
    lora_model: LoraModel,
    quiz: Quiz,
    split: Split,
    samples: NDArray[np.int64],
    most: int,
) -> list[list[int]]:
    """Return the greedily generated answer to each prompt, without the end token."""
    from transformers import GenerationConfig

    prompts = quiz.prompts(split, samples)
    device = lora_model.parameters[0].device
    config = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=False,
        use_cache=True,
        max_new_tokens=most,
        pad_token_id=quiz.pad_id,
        eos_token_id=quiz.end_id,
    )
    found = lora_model.model.generate(  # type: ignore[operator]
        **{name: value.to(device) for name, value in prompts.items()},
        generation_config=config,
    )
    width = prompts["input_ids"].shape[1]
    rows: list[list[int]] = found[:, width:].tolist()
    return [row[: [*row, quiz.end_id].index(quiz.end_id)] for row in rows]
