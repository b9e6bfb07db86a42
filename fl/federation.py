"""The learning side of a run: jobs are noted when given out, trained when merged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fl import recipe
from fl.adapters import Adapter, Layout, LoraSettings
from fl.aggregation import FloraNA
from fl.backbones import Backbone, SmallViT, read
from fl.cohorts import Cohort, Job, JobBook
from fl.evaluation import EvaluationSettings, Metrics, evaluate
from fl.merging import Aggregation, Component, MergeRow, combined, merge_adapters
from fl.partition import DirichletByLabel, Partition, divide
from fl.payload import Payload
from fl.remembered import Memory, folder_entry, write_folder
from fl.sketch import Sketch, draw_sketch, scattered, touched
from fl.store import Entry, Store
from fl.streams import stream
from fl.tasks import Digits, Source, Task
from fl.training import Diverged, LocalJob, TrainingSettings, train

if TYPE_CHECKING:
    from fl.resident import ResidentModel

NUM_THREADS = 1  # more depend on the machine and on who else runs


@dataclass(frozen=True, kw_only=True, slots=True)
class Learning:
    """What is learned, from what, and how: every choice that is not the network's."""

    task: Source = field(default_factory=Digits)
    backbone: Backbone = field(default_factory=SmallViT)
    partition: Partition = field(default_factory=DirichletByLabel)
    lora: LoraSettings = field(default_factory=LoraSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    aggregation: Aggregation = field(default_factory=FloraNA)
    payload: Payload = field(default_factory=Payload)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    cohort_size: int = 16


class Arrival(NamedTuple):
    """A job whose upload reached the server, and its unbiased weight."""

    job: str
    weight: float


class Merged(NamedTuple):
    """The version after a merge, and one row per adapted matrix."""

    version: str
    layers: tuple[MergeRow, ...]


class Federation:
    """Clients' data, the versions of the global adapter, and the jobs under way.

    Versions and jobs are named by recipe; what a store remembers is not computed again,
    and torch is imported when something is. A version is kept while it is the newest,
    or while a job that started from it may still be needed: submit when the client is
    given the version, before its download.
    """

    def __init__(
        self,
        learning: Learning,
        *,
        num_clients: int,
        seed: int,
        store: Store | None = None,
        device: str = "cpu",
        precision: Literal["float32", "float64"] = "float32",
    ) -> None:
        """Divide the data; the model is made when the first result is needed."""
        self.learning = learning
        self.seed = seed
        self.steps_trained = 0
        self.steps_reused = 0
        self._device = device
        self._precision = precision
        self._memory = Memory(
            store,
            recipe.Environment.here(
                device=device, threads=NUM_THREADS, precision=precision
            ),
        )
        self._shares = divide(
            learning.partition, learning.task, num_clients, stream(seed, "partition")
        )
        self.num_samples = tuple(len(share) for share in self._shares)
        self.initial_version = recipe.initial_version(
            base=learning.backbone.digest(learning.task), lora=learning.lora, seed=seed
        )
        self._book = JobBook(learning.cohort_size)
        self._adapters: dict[str, Adapter] = {}
        self._versions: dict[str, Entry] = {}
        self._model: ResidentModel | None = None

    def submit(self, job: Job) -> str:
        """Note a job and return its digest; nothing is trained yet."""
        if not 1 <= job.rank <= self.learning.lora.r:
            raise ValueError(
                f"rank must be 1 to the adapter's {self.learning.lora.r}, "
                f"got {job.rank}"
            )
        if job.steps < 1:
            raise ValueError(f"steps must be at least 1, got {job.steps}")
        name = self._recipe(job).digest
        self._book.add(name, job)
        return name

    def withdraw(self, job: str) -> None:
        """Forget a job that will never arrive."""
        self._book.remove([job])

    def merge(self, version: str, arrivals: Sequence[Arrival]) -> Merged:
        """Train the jobs that arrived and merge them into ``version``, the newest.

        Raises ``Diverged`` where a client's training does; all is then as before.
        """
        if not arrivals:
            return Merged(version, ())
        weights = dict(arrivals)
        names = self._book.ordered(weights)
        cohorts = self._book.cohorts(names)
        ordered = [(name, weights[name]) for name in names]
        merged = recipe.merged_version(self.learning.aggregation, version, ordered)
        entry = self._memory.recall(merged)
        if entry is None:
            entry = self._merge(merged, version, ordered, cohorts)
        else:
            self.steps_reused += sum(self._book.pending[n].steps for n in names)
        self._book.remove(names)
        self._keep(merged, entry)
        return Merged(merged, tuple(MergeRow(**row) for row in entry.facts["rows"]))

    def evaluate(self, version: str) -> Metrics:
        """Return the metrics of a kept version on the test split, computed once."""
        settings = self.learning.evaluation
        name = recipe.digest(
            "evaluation", {"version": version, "settings": recipe.settings(settings)}
        )
        entry = self._memory.recall(name)
        if entry is None:
            resident = self._resident()
            resident.write(self._adapter(version))
            split = settings.split_name(len(self.learning.task.labels("test")))
            metrics = evaluate(resident, self._task, split, settings)
            entry = Entry(asdict(metrics))
            self._memory.remember(name, entry)
        return Metrics(**entry.facts)

    def export(self, version: str, folder: Path) -> None:
        """Write a kept version as a PEFT checkpoint, its base model in ``base/``."""
        name = recipe.digest("export", {"version": version})
        entry = self._memory.recall(name)
        if entry is not None:
            write_folder(entry, folder)
            return
        from fl.checkpoint import write_base, write_checkpoint

        write_checkpoint(folder, self._adapter(version), self.learning.lora)
        write_base(folder, self.learning.backbone.load(self.learning.task))
        self._memory.remember(name, folder_entry(folder))

    def adapter_digest(self, version: str) -> str:
        """Return the digest of a kept version's numbers."""
        return str(self._version(version).facts["adapter"])

    def _recipe(self, job: Job) -> recipe.JobRecipe:
        return recipe.JobRecipe(
            version=job.version,
            client_id=job.client_id,
            start_index=job.start_index,
            round_id=job.round_id,
            rank=job.rank,
            steps=job.steps,
            task=self.learning.task.digest,
            samples=recipe.samples_digest(self._shares[job.client_id]),
            training=recipe.settings(self.learning.training),
            payload=recipe.settings(self.learning.payload),
            seed=self.seed,
        )

    @cached_property
    def _task(self) -> Task:
        """Return the task in the backbone's tokens, read at first need."""
        return read(self.learning.task, self.learning.backbone)

    def _resident(self) -> ResidentModel:
        """Return the model, made at first need."""
        if self._model is None:
            import torch

            from fl.resident import ResidentModel

            torch.set_num_threads(NUM_THREADS)
            self._model = ResidentModel(
                self.learning.backbone.load(self.learning.task),
                self.learning.lora,
                seed=self.seed,
                precision=self._precision,
                device=self._device,
            )
            self._adapters[self.initial_version] = self._model.read()
        return self._model

    def _version(self, version: str) -> Entry:
        """Return a kept version's entry; that of the first one is made when asked."""
        if version not in self._versions:
            if version != self.initial_version:
                raise KeyError(f"version {version} is no longer kept")
            entry = self._memory.recall(version)
            if entry is None:
                self._resident()
                entry = _version_entry(self._adapters[version], ())
                self._memory.remember(version, entry)
            self._versions[version] = entry
        return self._versions[version]

    def _adapter(self, version: str) -> Adapter:
        """Return a kept version's numbers as an adapter of the resident model."""
        layout = self._resident().layout
        if version not in self._adapters:
            self._adapters[version] = _adapter(layout, self._version(version).arrays[0])
        return self._adapters[version]

    def _keep(self, newest: str, entry: Entry) -> None:
        """Remember the newest version, and forget those that nothing needs."""
        self._versions[newest] = entry
        needed = {newest, *self._book.versions()}
        self._versions = {v: e for v, e in self._versions.items() if v in needed}
        self._adapters = {v: a for v, a in self._adapters.items() if v in needed}

    def _merge(
        self,
        merged: str,
        version: str,
        arrivals: Sequence[tuple[str, float]],
        cohorts: Sequence[Cohort],
    ) -> Entry:
        """Train what is not trained yet, merge, and remember the new version."""
        for cohort in cohorts:
            if cohort.received is None:
                cohort.received = self._train(cohort)
        components = self._components(version, arrivals)
        adapter, rows = merge_adapters(
            self.learning.aggregation, components, self._adapter(version)
        )
        self._adapters[merged] = adapter
        entry = _version_entry(adapter, rows)
        self._memory.remember(merged, entry)
        return entry

    def _components(
        self, version: str, arrivals: Sequence[tuple[str, float]]
    ) -> list[Component]:
        """Return the newest version with weight one, each client with its weight, and
        what it started from with minus that weight."""
        book = self._book
        starts = [self._sent(book.pending[name].version) for name, _ in arrivals]
        received = [book.received(name) for name, _ in arrivals]
        weights = [weight for _, weight in arrivals]
        return combined(
            [
                Component(self._adapter(version), 1.0),
                *(Component(a, -w) for a, w in zip(starts, weights, strict=True)),
                *(Component(a, w) for a, w in zip(received, weights, strict=True)),
            ]
        )

    def _sent(self, version: str) -> Adapter:
        return self.learning.payload.delivered(self._adapter(version))

    def _train(self, cohort: Cohort) -> dict[str, Adapter]:
        """Return what the server receives from each job of a cohort."""
        num_steps = sum(job.steps for job in cohort.jobs.values())
        entry = self._memory.recall(cohort.digest)
        if entry is not None:
            self.steps_reused += num_steps
            layout = self._resident().layout
            received = [_adapter(layout, array) for array in entry.arrays]
        else:
            received = self._trained(list(cohort.jobs.values()))
            self.steps_trained += num_steps
            flats = tuple(adapter.flat.numpy() for adapter in received)
            self._memory.remember(cohort.digest, Entry({}, flats))
        return dict(zip(cohort.jobs, received, strict=True))

    def _trained(self, jobs: Sequence[Job]) -> list[Adapter]:
        outcomes = train(
            self._resident(),
            self._task,
            [
                LocalJob(
                    client_id=job.client_id,
                    start_index=job.start_index,
                    steps=job.steps,
                    start=self._sent(job.version),
                    samples=self._shares[job.client_id],
                    sketch=self._sketch(job),
                )
                for job in jobs
            ],
            settings=self.learning.training,
            seed=self.seed,
        )
        received = []
        for job, outcome in zip(jobs, outcomes, strict=True):
            if isinstance(outcome, Diverged):
                raise outcome
            received.append(self._delivered(job, outcome.adapter))
        return received

    def _sketch(self, job: Job) -> Sketch | None:
        """Return the part of the adapter that a job trains; None is all of it."""
        full_rank = self.learning.lora.r
        if job.rank == full_rank:
            return None
        rng = stream(self.seed, "sketch", job.client_id, job.start_index)
        return draw_sketch(job.rank, full_rank, rng)

    def _delivered(self, job: Job, trained: Adapter) -> Adapter:
        """Return what the server has after the upload: only what moved travels."""
        payload, sketch = self.learning.payload, self._sketch(job)
        if sketch is None:
            return payload.delivered(trained)
        moved = touched(trained.layout, trained.tensors(), sketch)
        arrived = {name: payload.rounded(value) for name, value in moved.items()}
        return scattered(self._sent(job.version), sketch, arrived, gain=1.0)


def _adapter(layout: Layout, numbers: NDArray[np.generic]) -> Adapter:
    import torch

    return Adapter(layout, torch.from_numpy(numbers.copy()))


def _version_entry(adapter: Adapter, rows: Sequence[MergeRow]) -> Entry:
    facts = {"adapter": adapter.digest, "rows": [asdict(row) for row in rows]}
    return Entry(facts, (adapter.flat.numpy(),))
