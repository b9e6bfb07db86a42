"""Local training with the one model: chunks of jobs in, what the server receives out.

Only plain arrays go in and come out, so that it may sit in another process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from fl.contract import Job
from fl.federation.federated_model import FederatedModel
from fl.federation.jobs import Numbers, Outcome, rank_of, steps_of
from fl.federation.upload import uploaded
from fl.federation.versions import unflattened
from fl.memory.store import Entry
from fl.model.adapters import Adapter, Layout
from fl.model.sketch import Sketch, draw_sketch, own_rank
from fl.streams import stream
from fl.training.job import Diverged, LocalJob, Trained
from fl.training.local_training import train

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Chunk:
    """Jobs that are trained together, and the numbers that they need."""

    jobs: tuple[Job, ...]
    starts: Mapping[str, Numbers]  # by version, as the clients have it
    folds: Mapping[str, Numbers]  # by version, where the base has changed
    kept: Mapping[str, Numbers]  # by the job that left it
    shared: Mapping[str, Numbers]  # by version, what the server sends besides
    samples: Mapping[int, NDArray[np.int64]]  # by client


@dataclass(frozen=True, slots=True)
class Trainer:
    """Trains what it is given, with the one model."""

    model: FederatedModel

    def train(self, chunk: Chunk) -> list[Outcome]:
        """Return what comes of each job."""
        import torch

        layout = self.model.lora_model.layout
        fold = next(iter(chunk.folds.values()), None)  # none: the base alone
        self.model.lora_model.fold(
            {} if fold is None else unflattened(torch.from_numpy(fold.copy()), layout)
        )
        starts = [self._start(job, chunk) for job in chunk.jobs]
        outcomes = train(
            self.model.lora_model,
            self.model.task,
            [
                self._local_job(job, start, chunk)
                for job, start in zip(chunk.jobs, starts, strict=True)
            ],
            settings=self.model.learning.training,
            seed=self.model.seed,
            how=self.model.learning.local_training,
        )
        return [
            Outcome(None, None, outcome.step)
            if isinstance(outcome, Diverged)
            else self._uploaded(job, chunk, start, outcome)
            for job, start, outcome in zip(chunk.jobs, starts, outcomes, strict=True)
        ]

    def _local_job(self, job: Job, start: Adapter, chunk: Chunk) -> LocalJob:
        keeps = self.model.learning.local_training.demands.keeps
        return LocalJob(
            client_id=job.client_id,
            start_index=job.start_index,
            steps=steps_of(job),
            start=start,
            samples=chunk.samples[job.client_id],
            sketch=self._sketch(job),
            trains=self.model.learning.exchange(job.turn).trains,
            kept=_tensor(chunk.kept.get(job.state or "")) if keeps else None,
            shared=_tensor(chunk.shared.get(job.version)),
        )

    def _start(self, job: Job, chunk: Chunk) -> Adapter:
        """Return what a client starts from: the version that it was sent, and what it
        has kept to itself."""
        layout = self.model.lora_model.layout
        start = as_adapter(layout, chunk.starts[job.version])
        personal = self.model.learning.aggregation.contract.personal
        if not personal:
            return start
        own = self.model.initial
        if job.state is not None:
            own = as_adapter(layout, chunk.kept[job.state])
        tensors, kept = start.tensors(), own.tensors()
        for part in layout.parts:
            if (part.factor or "rest") in personal:
                tensors[part.name] = kept[part.name]
        return layout.pack(tensors)

    def _sketch(self, job: Job) -> Sketch | None:
        """Return the part of the adapter that a job trains; None is all of it."""
        rank, full_rank = rank_of(job), self.model.learning.lora.r
        if rank == full_rank:
            return None
        if self.model.learning.small_clients == "truncated":
            return own_rank(rank, full_rank)
        rng = stream(self.model.seed, "sketch", job.client_id, job.start_index)
        return draw_sketch(rank, full_rank, rng)

    def _uploaded(
        self, job: Job, chunk: Chunk, start: Adapter, trained: Trained
    ) -> Outcome:
        """Return what the server has after the upload, and what the client keeps; too
        large a number for the payload's precision is a divergence as well."""
        learning = self.model.learning
        keeps = learning.local_training.demands.keeps
        kept = None if keeps else _tensor(chunk.kept.get(job.state or ""))
        received, left = uploaded(
            learning,
            start,
            trained.adapter,
            sends=learning.exchange(job.turn).sends,
            sketch=self._sketch(job),
            kept=kept,
            facts={
                "rng": stream(
                    self.model.seed, "upload", job.client_id, job.start_index
                ),
                "round_id": job.round_id,
                "client_id": job.client_id,
                "loss": trained.loss,
            },
        )
        sent = trained.sent
        sent = None if sent is None else learning.payload.rounded(sent)
        if not all(
            one is None or one.isfinite().all() for one in (received.flat, sent)
        ):
            return Outcome(None, None, steps_of(job))
        left = trained.kept if keeps else left
        own, besides = (None if t is None else t.numpy() for t in (left, sent))
        return Outcome(received.flat.numpy(), own, None, trained.loss, besides)


@dataclass(frozen=True, slots=True)
class StoredOutcome:
    """What a store keeps of a job besides arrays: which of these it has, in order."""

    arrays: tuple[Literal["received", "kept", "sent"], ...]
    diverged_at: int | None
    loss: float | None


def to_entry(outcomes: Sequence[Outcome]) -> Entry[list[StoredOutcome]]:
    """Return what came of a cohort as a store keeps it."""
    records, arrays = [], list[Numbers]()
    for one in outcomes:
        found = {"received": one.received, "kept": one.kept, "sent": one.sent}
        held = {name: array for name, array in found.items() if array is not None}
        names: Any = tuple(held)
        records.append(StoredOutcome(names, one.diverged_at, one.loss))
        arrays += held.values()
    return Entry(records, tuple(arrays))


def from_entry(entry: Entry[list[StoredOutcome]]) -> list[Outcome]:
    """Return what came of a cohort."""
    arrays = iter(entry.arrays)
    found = []
    for one in entry.record:
        held = {name: next(arrays) for name in one.arrays}
        arrays_of = held.get("received"), held.get("kept")
        sent = held.get("sent")
        found.append(Outcome(*arrays_of, one.diverged_at, one.loss, sent))
    return found


def as_adapter(layout: Layout, numbers: Numbers) -> Adapter:
    """Return the adapter of these numbers, copied."""
    import torch

    return Adapter(layout, torch.from_numpy(numbers.copy()))


def _tensor(numbers: Numbers | None) -> Tensor | None:
    """Return a copy of these numbers, if there are any."""
    import torch

    return None if numbers is None else torch.from_numpy(numbers.copy())
