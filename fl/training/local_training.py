"""Local training of clients, between download and upload."""

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
from fl.training.core import CoreStack
from fl.training.losses import num_items
from fl.training.optimisers import clip_rows, optimiser_for, rate_factor
from fl.training.slicing import passes
from fl.training.stack import Stack
from fl.training.switched import Switched

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
    sketch: Sketch | None = None  # None: all of the adapter is trained
    batch_size: int | None = None  # None: per_device_train_batch_size
    trains: tuple[PartName, ...] = ("A", "B")  # the other factor is frozen

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


@dataclass(eq=False)
class Diverged(ArithmeticError):
    """A client's loss or adapter is no longer finite, at a local step."""

    client_id: int
    start_index: int
    step: int

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
    """Return the outcome of every job of a chunk, in order; the jobs train together.

    ``Diverged`` is returned, not raised, so that the caller can continue without that
    client. It does not affect the others.
    """
    outcomes: dict[int, Trained | Diverged] = {}
    for chunk in _chunks(jobs, is_stackable=lora_model.is_stackable):
        cohort = _Cohort(lora_model, task, [jobs[i] for i in chunk], settings, seed)
        outcomes.update(zip(chunk, cohort.outcomes(), strict=True))
    return [outcomes[i] for i in range(len(jobs))]


def _chunks(jobs: Sequence[LocalJob], *, is_stackable: bool) -> list[list[int]]:
    """Return the indices of jobs that train together: those with the same factors.

    Jobs are sorted by steps, most first, so that clients that are done leave from the
    end.
    """
    order = sorted(range(len(jobs)), key=lambda i: -jobs[i].steps)
    if not is_stackable:
        return [[i] for i in order]
    chunks: dict[frozenset[str], list[int]] = {}
    for i in order:
        chunks.setdefault(frozenset(jobs[i].trains), []).append(i)
    return list(chunks.values())


class _Cohort:
    """Clients that train together step by step, those with the most steps first."""

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
        self._rows = self._stacked(lora_model, seed)
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

    def _stacked(self, lora_model: LoraModel, seed: int) -> Stack | Switched:
        """Return the clients' numbers as rows that the model can compute with."""
        jobs, trains = self._jobs, self._jobs[0].trains
        if trains != ("core",) and not lora_model.is_stackable:
            (job,) = jobs
            if len(set(trains)) < 2:
                raise ValueError("one factor alone is trained in plain LoRA only")
            dropout = forked(seed, "dropout", job.client_id, job.start_index)
            return Switched(lora_model, job.start, job.sketch, dropout)
        starts = [job.start for job in jobs]
        dropouts = [_generator(lora_model, seed, job) for job in jobs]
        if trains == ("core",):
            return CoreStack(lora_model, starts, dropouts, seed)
        return Stack(lora_model, starts, self._sketches, dropouts, trains)

    def outcomes(self) -> list[Trained | Diverged]:
        """Train, and return the outcome of each client."""
        values, gradients = self._rows.values, self._rows.gradients
        settings = self._settings
        optimiser = optimiser_for(
            values, settings.optim, weight_decay=settings.weight_decay
        )
        losses = []
        with self._rows.active():
            for step in range(self._jobs[0].steps):
                num_active = sum(step < job.steps for job in self._jobs)
                gradients.zero_()
                losses.append(self._add_gradients(num_active))
                if settings.max_grad_norm is not None:
                    clip_rows(gradients[:num_active], settings.max_grad_norm)
                rates = self._rates(step, num_active)
                optimiser.step(values[:num_active], gradients[:num_active], rates)
        return [self._outcome(row, losses) for row in range(len(self._jobs))]

    def _add_gradients(self, num_active: int) -> Tensor:
        """Add the gradients of the first clients; return their losses."""
        import torch

        drawn = [
            [
                self._task.batch("train", next(batches))
                for _ in range(self._settings.gradient_accumulation_steps)
            ]
            for batches in self._batches[:num_active]
        ]
        counts = [sum(num_items(b["labels"]) for b in batches) for batches in drawn]
        losses = torch.zeros_like(self._rows.values[:num_active, 0])
        for batches in zip(*drawn, strict=True):
            for slices in passes(batches, self._rows.rule):
                rows = [row for row, _ in slices]
                parts = self._rows.add_gradients(
                    rows, [part for _, part in slices], [counts[row] for row in rows]
                )
                losses.index_add_(0, torch.tensor(rows, device=losses.device), parts)
        return losses

    def _rates(self, step: int, num_active: int) -> Tensor:
        """Return the learning rates of the first clients, as a column."""
        settings = self._settings
        factors = [
            rate_factor(
                settings.lr_scheduler_type,
                step,
                warmup_steps=settings.warmup_steps,
                num_steps=job.steps,
            )
            for job in self._jobs[:num_active]
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
    import torch

    own = torch_stream(seed, "dropout", job.client_id, job.start_index)
    return torch.Generator(lora_model.device).manual_seed(own.initial_seed())


def mini_batches(
    samples: NDArray[np.int64], size: int, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Yield batches of exactly ``size`` samples from consecutive shuffled epochs.

    A batch may span two epochs, so a client with few samples has some of them twice.
    """
    queue = samples[:0]
    while True:
        while len(queue) < size:
            queue = np.concatenate([queue, rng.permutation(samples)])
        yield queue[:size]
        queue = queue[size:]
