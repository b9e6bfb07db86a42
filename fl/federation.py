"""The learning side of a run: jobs are noted when given out, trained when merged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fl import recipe
from fl.adapters import Adapter
from fl.changes import squared_changes
from fl.evaluation import Metrics, evaluate
from fl.executor import Executor, Inline, Processes
from fl.jobs import Cohort, Job, JobBook
from fl.learning import Learning
from fl.merging import Component, MergeRow, combined, merge_adapters
from fl.partition import divide
from fl.remembered import Memory, folder_entry, write_folder
from fl.store import Entry, Store
from fl.streams import stream
from fl.trainer import NUM_THREADS, Chunk, Trainer, as_adapter, received


class Arrival(NamedTuple):
    """A job whose upload reached the server, and its unbiased weight."""

    job: str
    weight: float


class Merged(NamedTuple):
    """The version after a merge, one row per adapted matrix, and the squared norms of
    the arrivals' changes in their order."""

    version: str
    layers: tuple[MergeRow, ...]
    norms2: tuple[float, ...] = ()


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
        workers: int = 1,
    ) -> None:
        """Divide the data; the model is made when the first result is needed.

        With more than one of ``workers``, cohorts are trained in as many processes.
        """
        self.learning = learning
        self.seed = seed
        self.steps_trained = 0
        self.steps_reused = 0
        make_trainer = partial(Trainer, learning, seed, device, precision)
        self._trainer = make_trainer()
        self._executor: Executor[Trainer] = (
            Inline(self._trainer)
            if workers == 1
            else Processes(workers, make_trainer())
        )
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
        self._kept = {self.initial_version}
        self._adapters: dict[str, Adapter] = {}
        self._versions: dict[str, Entry] = {}

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
        rows = tuple(MergeRow(**row) for row in entry.facts["rows"])
        norms2 = dict(zip(names, entry.facts["norms2"], strict=True))
        return Merged(merged, rows, tuple(norms2[name] for name, _ in arrivals))

    def evaluate(self, version: str) -> Metrics:
        """Return the metrics of a kept version on the test split, computed once."""
        settings = self.learning.evaluation
        how = recipe.settings(settings.model_copy(update={"every": 1}))
        name = recipe.digest("evaluation", {"version": version, "settings": how})
        entry = self._memory.recall(name)
        if entry is None:
            resident = self._trainer.resident
            resident.write(self._adapter(version))
            split = settings.split_name(len(self.learning.task.labels("test")))
            metrics = evaluate(resident, self._trainer.task, split, settings)
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

    def close(self) -> None:
        """End the workers, if there are any."""
        self._executor.close()

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

    def _version(self, version: str) -> Entry:
        """Return a kept version's entry; that of the first one is made when asked."""
        self._require_kept(version)
        if version not in self._versions:
            entry = self._memory.recall(version)
            if entry is None:
                entry = _version_entry(self._trainer.initial, ())
                self._memory.remember(version, entry)
            self._versions[version] = entry
        return self._versions[version]

    def _require_kept(self, version: str) -> None:
        if version not in self._kept:
            raise KeyError(f"version {version} is no longer kept")

    def _adapter(self, version: str) -> Adapter:
        """Return a kept version's numbers as an adapter of the resident model."""
        self._require_kept(version)
        if version == self.initial_version:
            return self._trainer.initial
        if version not in self._adapters:
            layout, entry = self._trainer.resident.layout, self._version(version)
            self._adapters[version] = as_adapter(layout, entry.arrays[0])
        return self._adapters[version]

    def _keep(self, newest: str, entry: Entry) -> None:
        """Remember the newest version, and forget those that nothing needs."""
        self._versions[newest] = entry
        first = self.initial_version  # where pilots start from, and may a run again
        self._kept = needed = {first, newest, *self._book.versions()}
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
        self._train([cohort for cohort in cohorts if cohort.received is None])
        components = self._components(version, arrivals)
        adapter, rows = merge_adapters(
            self.learning.aggregation, components, self._adapter(version)
        )
        self._adapters[merged] = adapter
        entry = _version_entry(adapter, rows)
        entry.facts["norms2"] = self._norms2([name for name, _ in arrivals])
        self._memory.remember(merged, entry)
        return entry

    def _components(
        self, version: str, arrivals: Sequence[tuple[str, float]]
    ) -> list[Component]:
        """Return the newest version with weight one, each client with its weight, and
        what it started from with minus that weight."""
        book = self._book
        starts = [self._sent(book.pending[name].version) for name, _ in arrivals]
        ends = [book.received(name) for name, _ in arrivals]
        weights = [weight for _, weight in arrivals]
        return combined(
            [
                Component(self._adapter(version), 1.0),
                *(Component(a, -w) for a, w in zip(starts, weights, strict=True)),
                *(Component(a, w) for a, w in zip(ends, weights, strict=True)),
            ]
        )

    def _norms2(self, names: Sequence[str]) -> tuple[float, ...]:
        """Return how far each of these jobs moved from what it was sent, squared."""
        starts = [self._sent(self._book.pending[name].version) for name in names]
        return squared_changes(starts, [self._book.received(name) for name in names])

    def _sent(self, version: str) -> Adapter:
        return self.learning.payload.delivered(self._adapter(version))

    def _train(self, cohorts: Sequence[Cohort]) -> None:
        """Note what the server receives from each job of these cohorts."""
        unknown = []
        for cohort in cohorts:
            entry = self._memory.recall(cohort.digest)
            if entry is None:
                unknown.append(cohort)
            else:
                self.steps_reused += cohort.num_steps
                self._receive(cohort, entry.arrays)
        chunks = [self._chunk(cohort) for cohort in unknown]
        trained = self._executor.map(received, chunks)
        for cohort, flats in zip(unknown, trained, strict=True):
            self.steps_trained += cohort.num_steps
            self._receive(cohort, flats)
            self._memory.remember(cohort.digest, Entry({}, flats))

    def _receive(self, cohort: Cohort, flats: Sequence[NDArray[np.generic]]) -> None:
        layout = self._trainer.resident.layout
        adapters = (as_adapter(layout, numbers) for numbers in flats)
        cohort.received = dict(zip(cohort.jobs, adapters, strict=True))

    def _chunk(self, cohort: Cohort) -> Chunk:
        """Return all that a worker needs to train a cohort."""
        jobs = tuple(cohort.jobs.values())
        sent = {version: self._sent(version) for version in {j.version for j in jobs}}
        return Chunk(
            jobs,
            starts={version: start.flat.numpy() for version, start in sent.items()},
            samples={job.client_id: self._shares[job.client_id] for job in jobs},
        )


def _version_entry(adapter: Adapter, rows: Sequence[MergeRow]) -> Entry:
    facts = {"adapter": adapter.digest, "rows": [asdict(row) for row in rows]}
    return Entry(facts, (adapter.flat.numpy(),))
