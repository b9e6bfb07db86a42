"""Local training: what a client does between its download and its upload."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fl.adapters import Adapter
from fl.record import Record
from fl.resident import ResidentModel
from fl.streams import forked, stream
from fl.tasks import Task

if TYPE_CHECKING:
    from torch.optim import Optimizer


class TrainingSettings(Record):
    """A client's local training, in the words of Hugging Face's ``Trainer``."""

    local_steps: int = Field(default=10, ge=1)
    per_device_train_batch_size: int = Field(default=16, ge=1)
    learning_rate: float = Field(default=5e-3, gt=0, allow_inf_nan=False)
    optim: Literal["sgd", "momentum", "adamw"] = "adamw"
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    max_grad_norm: float | None = Field(default=None, gt=0, allow_inf_nan=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalJob:
    """One participation: a client, the adapter it received, and its samples."""

    client_id: int
    start_index: int
    steps: int
    start: Adapter
    samples: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Trained:
    """The adapter after local training, and the mean loss over its mini-batches."""

    adapter: Adapter
    loss: float


class Diverged(ArithmeticError):
    """A client's loss or adapter is no longer finite; carries where it happened."""

    def __init__(self, client_id: int, start_index: int, step: int) -> None:
        super().__init__(client_id, start_index, step)
        self.client_id = client_id
        self.start_index = start_index
        self.step = step

    def __str__(self) -> str:
        return (
            f"client {self.client_id}, start {self.start_index}: loss or adapter not "
            f"finite at local step {self.step}; lower training.learning_rate or set "
            "training.max_grad_norm"
        )


def train(
    resident: ResidentModel,
    task: Task,
    jobs: Sequence[LocalJob],
    *,
    settings: TrainingSettings,
    seed: int,
) -> list[Trained | Diverged]:
    """Return the outcome of every job of a chunk, in order.

    A client that diverges is an outcome like any other: the caller raises it or goes
    on without it, and the rest of the chunk does not change.
    """
    outcomes: list[Trained | Diverged] = []
    with resident.lora_dropout():
        for job in jobs:
            with forked(seed, "dropout", job.client_id, job.start_index):
                outcome = _train_one(resident, task, job, settings=settings, seed=seed)
            outcomes.append(outcome)
    return outcomes


def _train_one(
    resident: ResidentModel,
    task: Task,
    job: LocalJob,
    *,
    settings: TrainingSettings,
    seed: int,
) -> Trained | Diverged:
    import torch

    resident.write(job.start)
    optimiser = _optimiser(resident, settings)
    rng = stream(seed, "batch", job.client_id, job.start_index)
    batches = mini_batches(job.samples, settings.per_device_train_batch_size, rng)
    losses = []
    for step in range(job.steps):
        optimiser.zero_grad()
        loss, _ = resident.forward(task.batch("train", next(batches)))
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            return Diverged(job.client_id, job.start_index, step)
        loss.backward()  # type: ignore[no-untyped-call]
        if settings.max_grad_norm is not None:
            torch.nn.utils.clip_grad_norm_(resident.parameters, settings.max_grad_norm)
        optimiser.step()
    adapter = resident.read()
    if not adapter.flat.isfinite().all():
        return Diverged(job.client_id, job.start_index, job.steps)
    return Trained(adapter, math.fsum(losses) / len(losses))


def mini_batches(
    samples: NDArray[np.int64], size: int, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Yield batches of exactly ``size`` from one freshly shuffled epoch after another.

    A batch may span two epochs; a client with few samples sees some of them twice.
    """
    queue = samples[:0]
    while True:
        while len(queue) < size:
            queue = np.concatenate([queue, rng.permutation(samples)])
        yield queue[:size]
        queue = queue[size:]


def _optimiser(resident: ResidentModel, settings: TrainingSettings) -> Optimizer:
    """Return a new optimiser: no state outlives a participation."""
    import torch

    if settings.optim == "adamw":
        return torch.optim.AdamW(
            resident.parameters,
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
        )
    return torch.optim.SGD(
        resident.parameters,
        lr=settings.learning_rate,
        momentum=0.9 if settings.optim == "momentum" else 0.0,
        weight_decay=settings.weight_decay,
    )
