"""The resident model at work: chunks of jobs in, what the server receives out.

Only plain arrays go in and come out, so that it may sit in another process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from fl.adapters import Adapter, Layout
from fl.backbones import read
from fl.jobs import Job
from fl.learning import Learning
from fl.sketch import Sketch, draw_sketch, scattered, touched
from fl.start import start_adapter
from fl.streams import stream
from fl.tasks import Task
from fl.training import Diverged, LocalJob, train

if TYPE_CHECKING:
    from fl.resident import ResidentModel

NUM_THREADS = 1  # more depend on the machine and on who else runs


@dataclass(frozen=True, slots=True)
class Chunk:
    """Jobs that are trained together, and the numbers that they need."""

    jobs: tuple[Job, ...]
    starts: Mapping[str, NDArray[np.generic]]  # by version, as the clients have it
    samples: Mapping[int, NDArray[np.int64]]  # by client


@dataclass(frozen=True)
class Trainer:
    """A model that is made at first need, and trains what it is given."""

    learning: Learning
    seed: int
    device: str
    precision: Literal["float32", "float64"]

    @cached_property
    def task(self) -> Task:
        """Return the task in the backbone's tokens."""
        return read(self.learning.task, self.learning.backbone)

    @property
    def resident(self) -> ResidentModel:
        """Return the model."""
        return self._loaded[0]

    @cached_property
    def initial(self) -> Adapter:
        """Return the adapter before any training; raises ``DoesNotFit``."""
        fresh = self._loaded[1]
        if self.learning.start is None:
            return fresh
        return start_adapter(Path(self.learning.start), self.resident)

    @cached_property
    def _loaded(self) -> tuple[ResidentModel, Adapter]:
        import torch

        from fl.resident import ResidentModel

        torch.set_num_threads(NUM_THREADS)
        resident = ResidentModel(
            self.learning.backbone.load(self.learning.task),
            self.learning.lora,
            seed=self.seed,
            precision=self.precision,
            device=self.device,
        )
        return resident, resident.read()

    def received(self, chunk: Chunk) -> list[Adapter]:
        """Return what the server receives from each job; raises ``Diverged``."""
        layout = self.resident.layout
        starts = {v: as_adapter(layout, numbers) for v, numbers in chunk.starts.items()}
        outcomes = train(
            self.resident,
            self.task,
            [
                LocalJob(
                    client_id=job.client_id,
                    start_index=job.start_index,
                    steps=job.steps,
                    start=starts[job.version],
                    samples=chunk.samples[job.client_id],
                    sketch=self._sketch(job),
                )
                for job in chunk.jobs
            ],
            settings=self.learning.training,
            seed=self.seed,
        )
        arrived = []
        for job, outcome in zip(chunk.jobs, outcomes, strict=True):
            if isinstance(outcome, Diverged):
                raise outcome
            arrived.append(self._delivered(job, starts[job.version], outcome.adapter))
        return arrived

    def _sketch(self, job: Job) -> Sketch | None:
        """Return the part of the adapter that a job trains; None is all of it."""
        full_rank = self.learning.lora.r
        if job.rank == full_rank:
            return None
        rng = stream(self.seed, "sketch", job.client_id, job.start_index)
        return draw_sketch(job.rank, full_rank, rng)

    def _delivered(self, job: Job, start: Adapter, trained: Adapter) -> Adapter:
        """Return what the server has after the upload: only what moved travels."""
        payload, sketch = self.learning.payload, self._sketch(job)
        if sketch is None:
            return payload.delivered(trained)
        moved = touched(trained.layout, trained.tensors(), sketch)
        arrived = {name: payload.rounded(value) for name, value in moved.items()}
        return scattered(start, sketch, arrived, gain=1.0)


def received(trainer: Trainer, chunk: Chunk) -> tuple[NDArray[np.generic], ...]:
    """Return the numbers that the server receives from each job of a chunk."""
    return tuple(adapter.flat.numpy() for adapter in trainer.received(chunk))


def as_adapter(layout: Layout, numbers: NDArray[np.generic]) -> Adapter:
    """Return the adapter of these numbers, copied."""
    import torch

    return Adapter(layout, torch.from_numpy(numbers.copy()))
