"""Clients that train together, one row of numbers each: what a strategy is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from fl.local.strategy import Draw, Loss, Samples
from fl.model.lora_model import LoraModel
from fl.settings.local_training import TrainingSettings
from fl.streams import forked, stream, torch_stream
from fl.tasks import Task
from fl.training.client_rows import Rows, rows_of
from fl.training.grouping import group_clients, shape
from fl.training.job import LocalJob
from fl.training.losses import client_losses, num_items
from fl.training.optimisers import Optimiser, clip_rows, optimiser_for, rate_factor
from fl.training.slicing import passes

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


class RowCohort:
    """The rows of some clients, those with the most steps first."""

    def __init__(
        self,
        lora_model: LoraModel,
        task: Task,
        jobs: Sequence[LocalJob],
        settings: TrainingSettings,
        seed: int,
    ) -> None:
        self.task = task
        self.jobs = jobs
        self.settings = settings
        self.seed = seed
        self.rows: Rows = rows_of(lora_model, jobs, seed)
        self.rows.bf16 = settings.bf16
        self.kept = self._given([job.kept for job in jobs])
        self.shared = self._given([job.shared for job in jobs])
        self.sent = self._given([])
        self.rates = self.values.new_zeros(len(jobs), 1)
        self.losses: list[Tensor] = []  # by step, of the first rows
        self._told: dict[int, float] = {}  # by row, by a trainer of its own
        self._lora_model = lora_model
        self._active = ExitStack()

    @property
    def values(self) -> Tensor:
        """Return what is trained; what is put in its place is copied there."""
        return self.rows.values

    @values.setter
    def values(self, values: Tensor) -> None:
        self.rows.values.copy_(values)

    def _given(self, own: Sequence[Tensor | None]) -> Tensor:
        """Return rows of which those not given are zero; all together take no room."""
        import torch

        zero = self.values.new_zeros(()).expand(self.values.shape[1])
        if all(one is None for one in own):
            return zero.expand(self.values.shape)
        return torch.stack([zero if one is None else one.to(zero) for one in own])

    @cached_property
    def optimiser(self) -> Optimiser:
        """Return the optimiser of the settings, made at the first step."""
        settings = self.settings
        return optimiser_for(
            self.values, settings.optim, weight_decay=settings.weight_decay
        )

    @cached_property
    def noises(self) -> list[torch.Generator]:
        """Return each client's own stream of noise."""
        return [
            torch_stream(self.seed, "noise", job.client_id, job.start_index)
            for job in self.jobs
        ]

    def size(self, job: LocalJob) -> int:
        """Return the samples of one of a client's mini-batches."""
        own = job.batch_size
        return self.settings.per_device_train_batch_size if own is None else own

    def steps(self, draw: Draw | None = None) -> Iterator[CohortStep]:
        each = self.settings.gradient_accumulation_steps
        draws = [
            (draw or mini_batches)(
                job.samples,
                each * self.size(job),
                stream(self.seed, "batch", job.client_id, job.start_index),
            )
            for job in self.jobs
        ]
        with self._active:
            self._active.enter_context(self.rows.active())
            for index in range(self.jobs[0].steps):
                num_active = sum(index < job.steps for job in self.jobs)
                samples = [next(own) for own in draws[:num_active]]
                rates = self._rates(index, num_active)
                self.rates[:num_active] += rates
                yield CohortStep(self, samples, rates)

    def _rates(self, step: int, num_active: int) -> Tensor:
        """Return the learning rates of the first clients, as a column."""
        settings = self.settings
        factors = [
            rate_factor(
                settings.lr_scheduler_type,
                step,
                warmup_steps=settings.warmup_steps,
                num_steps=job.steps,
            )
            for job in self.jobs[:num_active]
        ]
        rates = [settings.learning_rate * factor for factor in factors]
        return self.values.new_tensor(rates).unsqueeze(1)

    def one_by_one(self) -> Iterator[AloneClient]:
        model = self._lora_model
        for row, job in enumerate(self.jobs):
            client = AloneClient(self, job, model.model)
            model.write(job.start)
            own = "alone", job.client_id, job.start_index
            with forked(self.seed, *own), model.training_only(job.trains):
                yield client
            self.rows.replace(row, model.read())
            if client.loss is not None:
                self._told[row] = client.loss

    def losses_of(self, row: int) -> list[float]:
        """Return the losses of a client's steps, or the one that it was told."""
        if row in self._told:
            return [self._told[row]]
        return [float(one[row]) for one in self.losses if len(one) > row]

    def close(self) -> None:
        """Give the model its own layers back, where not all steps were taken."""
        self._active.close()


class AloneClient:
    """One client whose adapter is in PEFT's own layers."""

    def __init__(self, cohort: RowCohort, job: LocalJob, model: nn.Module) -> None:
        self.client_id = job.client_id
        self.start_index = job.start_index
        self.model = model
        self.task = cohort.task
        self.samples = job.samples
        self.steps = job.steps
        own = stream(cohort.seed, "trainer", job.client_id, job.start_index)
        self.seed = int(own.integers(2**31))
        self.loss: float | None = None


class CohortStep:
    """One step of a cohort's first clients."""

    def __init__(
        self, cohort: RowCohort, samples: Sequence[Samples], rates: Tensor
    ) -> None:
        self.values = cohort.values[: len(samples)]
        self.rates = rates
        self._cohort = cohort
        self._samples = samples

    @property
    def sizes(self) -> Tensor:
        cohort, each = self._cohort, self._cohort.settings.gradient_accumulation_steps
        jobs = cohort.jobs[: len(self.values)]
        asked = [min(each * cohort.size(job), len(job.samples)) for job in jobs]
        return self.values.new_tensor(asked).unsqueeze(1)

    def gradients(self, loss: Loss | None = None) -> Tensor:
        batches = [
            [
                self._batch(samples[first : first + self._cohort.size(job)])
                for first in range(0, len(samples), self._cohort.size(job))
            ]
            for samples, job in zip(self._samples, self._cohort.jobs, strict=False)
        ]
        counts = [sum(num_items(b["labels"]) for b in own) for own in batches]
        self._start()
        for turn in range(max(map(len, batches))):
            rows = [row for row, own in enumerate(batches) if len(own) > turn]
            drawn = [batches[row][turn] for row in rows]
            for slices in passes(drawn, self._cohort.rows.rule):
                chosen = [rows[one.row] for one in slices]
                parts = [one.batch for one in slices]
                self._add(chosen, parts, [counts[row] for row in chosen], loss=loss)
        return self._finish()

    def clipped_sum(self, max_norm: float) -> Tensor:
        rows = [row for row, own in enumerate(self._samples) for _ in own]
        batches = [self._batch(one) for own in self._samples for one in own[:, None]]
        counts = [num_items(batch["labels"]) for batch in batches]
        self._start()
        rule = self._cohort.rows.rule
        for group in group_clients([shape(batch) for batch in batches], rule):
            chosen = [rows[place] for place in group]
            parts = [batches[place] for place in group]
            own = [counts[place] for place in group]
            self._add(chosen, parts, own, max_norm=max_norm)
        num_samples = [max(1, len(own)) for own in self._samples]
        self._losses /= self._losses.new_tensor(num_samples)
        return self._finish()

    def noise(self) -> Tensor:
        import torch

        found = torch.zeros(self.values.shape, dtype=self.values.dtype)
        for row, generator in enumerate(self._cohort.noises[: len(found)]):
            for own in self._cohort.rows.own(row, found[row]):
                own.copy_(torch.randn(own.shape, generator=generator, dtype=own.dtype))
        return found.to(self.values.device)

    def descend(self, gradients: Tensor) -> None:
        settings = self._cohort.settings
        if settings.max_grad_norm is not None:
            clip_rows(gradients, settings.max_grad_norm)
        self._cohort.optimiser.step(self.values, gradients, self.rates)

    def _batch(self, samples: Samples) -> Mapping[str, Tensor]:
        return self._cohort.task.batch("train", samples)

    def _start(self) -> None:
        self._gradients = self._cohort.rows.gradients[: len(self.values)].zero_()
        self._losses = self.values.new_zeros(len(self.values))

    def _add(
        self,
        rows: Sequence[int],
        batches: Sequence[Mapping[str, Tensor]],
        counts: Sequence[int],
        *,
        loss: Loss | None = None,
        max_norm: float | None = None,
    ) -> None:
        """Add the gradients of these clients' batches, each clipped by itself."""
        import torch

        chosen = torch.tensor(rows, device=self.values.device)
        losses, gradients = self._cohort.rows.differentiated(
            rows, batches, counts, loss or client_losses
        )
        if max_norm is not None:
            clip_rows(gradients, max_norm)
        self._gradients.index_add_(0, chosen, gradients)
        self._losses.index_add_(0, chosen, losses)

    def _finish(self) -> Tensor:
        self._cohort.losses.append(self._losses)
        return self._gradients


def mini_batches(
    samples: Samples, size: int, rng: np.random.Generator
) -> Iterator[Samples]:
    """Yield batches of exactly ``size`` samples from consecutive shuffled epochs.

    A batch may span two epochs, so a client with few samples has some of them twice.
    """
    queue = samples[:0]
    while True:
        while len(queue) < size:
            queue = np.concatenate([queue, rng.permutation(samples)])
        yield queue[:size]
        queue = queue[size:]
