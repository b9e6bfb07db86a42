"""Local training with the one model: chunks of jobs in, what the server receives out.

Only plain arrays go in and come out, so that it may sit in another process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from fl.backbones import read
from fl.contract import Job
from fl.federation.jobs import Numbers, Outcome, rank_of, steps_of
from fl.federation.upload import uploaded
from fl.federation.versions import Version, unflattened
from fl.federation.warm_start import start_adapter
from fl.memory.store import Entry
from fl.model.adapters import Adapter, Layout
from fl.model.device import require
from fl.model.shared_base import shared_base
from fl.model.sketch import Sketch, draw_sketch, own_rank
from fl.settings.federation import FederationSettings
from fl.streams import stream
from fl.tasks import Task
from fl.training.local_training import Diverged, LocalJob, train

if TYPE_CHECKING:
    from fl.model.lora_model import LoraModel

NUM_THREADS = 1  # more depend on the machine and on who else runs


@dataclass(frozen=True, slots=True)
class Chunk:
    """Jobs that are trained together, and the numbers that they need."""

    jobs: tuple[Job, ...]
    starts: Mapping[str, Numbers]  # by version, as the clients have it
    folds: Mapping[str, Numbers]  # by version, where the base has changed
    kept: Mapping[str, Numbers]  # by the job that left it
    samples: Mapping[int, NDArray[np.int64]]  # by client


@dataclass(frozen=True)
class Trainer:
    """A model that is made at first need, and trains what it is given."""

    learning: FederationSettings
    seed: int
    device: str
    precision: Literal["float32", "float64"]

    @cached_property
    def task(self) -> Task:
        """Return the task in the backbone's tokens."""
        return read(self.learning.task, self.learning.backbone)

    @property
    def lora_model(self) -> LoraModel:
        """Return the model."""
        return self._loaded[0]

    @cached_property
    def initial(self) -> Adapter:
        """Return the adapter before any training; raises ``DoesNotFit``."""
        fresh = self._loaded[1]
        if self.learning.start is None:
            return fresh
        return start_adapter(Path(self.learning.start), self.lora_model)

    @cached_property
    def _loaded(self) -> tuple[LoraModel, Adapter]:
        import torch

        from fl.model.lora_model import LoraModel

        require(self.device)
        torch.set_num_threads(NUM_THREADS)
        lora_model = LoraModel(
            shared_base(
                self.learning.backbone,
                self.learning.task,
                device=self.device,
                precision=self.precision,
            ),
            self.learning.lora,
            seed=self.seed,
            precision=self.precision,
            device=self.device,
        )
        return lora_model, lora_model.read()

    def train(self, chunk: Chunk) -> list[Outcome]:
        """Return what comes of each job."""
        import torch

        layout = self.lora_model.layout
        fold = next(iter(chunk.folds.values()), None)  # none: the base alone
        self.lora_model.fold(
            {} if fold is None else unflattened(torch.from_numpy(fold.copy()), layout)
        )
        starts = [self._start(job, chunk) for job in chunk.jobs]
        outcomes = train(
            self.lora_model,
            self.task,
            [
                LocalJob(
                    client_id=job.client_id,
                    start_index=job.start_index,
                    steps=steps_of(job),
                    start=start,
                    samples=chunk.samples[job.client_id],
                    sketch=self._sketch(job),
                    trains=self.learning.exchange(job.turn).trains,
                )
                for job, start in zip(chunk.jobs, starts, strict=True)
            ],
            settings=self.learning.training,
            seed=self.seed,
        )
        return [
            Outcome(None, None, outcome.step)
            if isinstance(outcome, Diverged)
            else self._uploaded(job, chunk, start, outcome.adapter)
            for job, start, outcome in zip(chunk.jobs, starts, outcomes, strict=True)
        ]

    def model_as(self, version: Version) -> LoraModel:
        """Return the model with the numbers of a version."""
        model = version.with_layout(self.lora_model.layout)
        self.lora_model.fold(model.folds())
        self.lora_model.write(model.adapter)
        return self.lora_model

    def _start(self, job: Job, chunk: Chunk) -> Adapter:
        """Return what a client starts from: the version that it was sent, and what it
        has kept to itself."""
        layout = self.lora_model.layout
        start = as_adapter(layout, chunk.starts[job.version])
        personal = self.learning.aggregation.contract.personal
        if not personal:
            return start
        own = self.initial
        if job.state is not None:
            own = as_adapter(layout, chunk.kept[job.state])
        tensors, kept = start.tensors(), own.tensors()
        for part in layout.parts:
            if (part.factor or "rest") in personal:
                tensors[part.name] = kept[part.name]
        return layout.pack(tensors)

    def _sketch(self, job: Job) -> Sketch | None:
        """Return the part of the adapter that a job trains; None is all of it."""
        rank, full_rank = rank_of(job), self.learning.lora.r
        if rank == full_rank:
            return None
        if self.learning.small_clients == "truncated":
            return own_rank(rank, full_rank)
        rng = stream(self.seed, "sketch", job.client_id, job.start_index)
        return draw_sketch(rank, full_rank, rng)

    def _uploaded(
        self, job: Job, chunk: Chunk, start: Adapter, trained: Adapter
    ) -> Outcome:
        """Return what the server has after the upload, and what the client keeps; too
        large a number for the payload's precision is a divergence as well."""
        import torch

        kept = None if job.state is None else chunk.kept[job.state]
        received, left = uploaded(
            self.learning,
            start,
            trained,
            sends=self.learning.exchange(job.turn).sends,
            sketch=self._sketch(job),
            kept=None if kept is None else torch.from_numpy(kept.copy()),
        )
        if not received.flat.isfinite().all():
            return Outcome(None, None, steps_of(job))
        return Outcome(received.flat.numpy(), None if left is None else left.numpy())


@dataclass(frozen=True, slots=True)
class StoredOutcome:
    """What a store keeps of a job besides arrays: which of these it has, in order."""

    arrays: tuple[Literal["received", "kept"], ...]
    diverged_at: int | None


def to_entry(outcomes: Sequence[Outcome]) -> Entry[list[StoredOutcome]]:
    """Return what came of a cohort as a store keeps it."""
    records, arrays = [], list[Numbers]()
    for one in outcomes:
        found = {"received": one.received, "kept": one.kept}
        held = {name: array for name, array in found.items() if array is not None}
        records.append(StoredOutcome(tuple(held), one.diverged_at))  # type: ignore[arg-type]
        arrays += held.values()
    return Entry(records, tuple(arrays))


def from_entry(entry: Entry[list[StoredOutcome]]) -> list[Outcome]:
    """Return what came of a cohort."""
    arrays = iter(entry.arrays)
    found = []
    for one in entry.record:
        held = {name: next(arrays) for name in one.arrays}
        found.append(Outcome(held.get("received"), held.get("kept"), one.diverged_at))
    return found


def as_adapter(layout: Layout, numbers: Numbers) -> Adapter:
    """Return the adapter of these numbers, copied."""
    import torch

    return Adapter(layout, torch.from_numpy(numbers.copy()))
