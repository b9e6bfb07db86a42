"""Local training: what clients do between their downloads and their uploads."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fl.model.adapters import Adapter
from fl.model.lora_model import LoraModel
from fl.model.payload import PartName
from fl.model.sketch import Sketch, compensation, whole_sketch
from fl.settings.local_training import TrainingSettings
from fl.streams import forked, stream, torch_stream
from fl.tasks import Task
from fl.training import CoreStack, Rows, Stack, Switched
from fl.training.cutting import passes
from fl.training.losses import num_items
from fl.training.optimisers import (
    clip_rows,
    optimiser_for,
    rate_factor,
)

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalJob:
    """One participation: a client, the adapter it received, and its samples."""

    client_id: int
    start_index: int
    steps: int
    start: Adapter
    samples: NDArray[np.int64]
    sketch: Sketch | None = None  # None: it trains all of its adapter
    batch_size: int | None = None  # None: per_device_train_batch_size
    trains: tuple[PartName, ...] = ("A", "B")  # the other factor rests

    def __post_init__(self) -> None:
        assert self.sketch is None or (self.sketch.full_rank == self.start.layout.rank)

    @property
    def rank(self) -> int:
        """Return the rank that the client trains."""
        return self.start.layout.rank if self.sketch is None else self.sketch.rank


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
    lora_model: LoraModel,
    task: Task,
    jobs: Sequence[LocalJob],
    *,
    settings: TrainingSettings,
    seed: int,
) -> list[Trained | Diverged]:
    """Return the outcome of every job of a chunk, in order, trained together.

    A client that diverges is an outcome like any other: the caller raises it or goes
    on without it, and the rest of the chunk does not change.
    """
    outcomes: dict[int, Trained | Diverged] = {}
    for chunk in _chunks(jobs, is_stackable=lora_model.is_stackable):
        cohort = _Cohort(lora_model, task, [jobs[i] for i in chunk], settings, seed)
        outcomes.update(zip(chunk, cohort.outcomes(), strict=True))
    return [outcomes[i] for i in range(len(jobs))]


def _chunks(jobs: Sequence[LocalJob], *, is_stackable: bool) -> list[list[int]]:
    """Return which jobs train together: those that train the same factors, if any.

    Longest first, so that who is done leaves from the end.
    """
    order = sorted(range(len(jobs)), key=lambda i: -jobs[i].steps)
    if not is_stackable:
        return [[i] for i in order]
    chunks: dict[frozenset[str], list[int]] = {}
    for i in order:
        chunks.setdefault(frozenset(jobs[i].trains), []).append(i)
    return list(chunks.values())


class _Cohort:
    """Clients who train step by step together, those with the most steps first."""

    def __init__(
        self,
        lora_model: LoraModel,
        task: Task,
        jobs: Sequence[LocalJob],
        settings: TrainingSettings,
        seed: int,
    ) -> None:
        self._task = task
        self._jobs = jobs
        self._settings = settings
        self._sketches = [job.sketch or whole_sketch(job.rank) for job in jobs]
        starts = [job.start for job in jobs]
        self._rows: Rows
        if jobs[0].trains == ("core",):
            dropouts = [_generator(lora_model, seed, job) for job in jobs]
            self._rows = CoreStack(lora_model, starts, dropouts, seed)
        elif lora_model.is_stackable:
            dropouts = [_generator(lora_model, seed, job) for job in jobs]
            self._rows = Stack(
                lora_model, starts, self._sketches, dropouts, jobs[0].trains
            )
        else:
            (job,) = jobs
            if len(set(job.trains)) < 2:
                raise ValueError("one factor alone is trained in plain LoRA only")
            dropout = forked(seed, "dropout", job.client_id, job.start_index)
            self._rows = Switched(lora_model, job.start, job.sketch, dropout)
        self._rows.bf16 = settings.bf16
        default = settings.per_device_train_batch_size
        self._batches = [
            mini_batches(
                job.samples,
                default if job.batch_size is None else job.batch_size,
                stream(seed, "batch", job.client_id, job.start_index),
            )
            for job in jobs
        ]

    def outcomes(self) -> list[Trained | Diverged]:
        """Train, and return what became of each client."""
        values, gradients = self._rows.values, self._rows.gradients
        settings = self._settings
        optimiser = optimiser_for(
            values, settings.optim, weight_decay=settings.weight_decay
        )
        losses = []
        with self._rows.at_work():
            for step in range(self._jobs[0].steps):
                alive = sum(step < job.steps for job in self._jobs)
                gradients.zero_()
                losses.append(self._add_gradients(alive))
                if settings.max_grad_norm is not None:
                    clip_rows(gradients[:alive], settings.max_grad_norm)
                rates = self._rates(step, alive)
                optimiser.step(values[:alive], gradients[:alive], rates)
        return [self._outcome(row, losses) for row in range(len(self._jobs))]

    def _add_gradients(self, alive: int) -> Tensor:
        """Return the first clients' losses, having noted their gradients."""
        import torch

        drawn = [
            [
                self._task.batch("train", next(batches))
                for _ in range(self._settings.gradient_accumulation_steps)
            ]
            for batches in self._batches[:alive]
        ]
        counts = [sum(num_items(b["labels"]) for b in batches) for batches in drawn]
        losses = torch.zeros_like(self._rows.values[:alive, 0])
        for batches in zip(*drawn, strict=True):
            for slices in passes(batches, self._rows.rule):
                rows = [row for row, _ in slices]
                parts = self._rows.add_gradients(
                    rows, [part for _, part in slices], [counts[row] for row in rows]
                )
                losses.index_add_(0, torch.tensor(rows, device=losses.device), parts)
        return losses

    def _rates(self, step: int, alive: int) -> Tensor:
        """Return the learning rate of each of the first clients, as a column."""
        settings = self._settings
        factors = [
            rate_factor(
                settings.lr_scheduler_type,
                step,
                warmup_steps=settings.warmup_steps,
                num_steps=job.steps,
            )
            for job in self._jobs[:alive]
        ]
        rates = [settings.learning_rate * factor for factor in factors]
        return self._rows.values.new_tensor(rates).unsqueeze(1)

    def _outcome(self, row: int, losses: Sequence[Tensor]) -> Trained | Diverged:
        job = self._jobs[row]
        own = [float(of_step[row]) for of_step in losses[: job.steps]]
        for step, loss in enumerate(own):
            if not math.isfinite(loss):
                return Diverged(job.client_id, job.start_index, step)
        gain = compensation(self._settings.optim, self._sketches[row])
        adapter = self._rows.trained(row, gain=gain)
        if not adapter.flat.isfinite().all():
            return Diverged(job.client_id, job.start_index, job.steps)
        return Trained(adapter, math.fsum(own) / len(own))


def _generator(lora_model: LoraModel, seed: int, job: LocalJob) -> torch.Generator:
    """Return the stream of a client's dropout, on the device."""
    import torch

    own = torch_stream(seed, "dropout", job.client_id, job.start_index)
    return torch.Generator(lora_model.device).manual_seed(own.initial_seed())


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
