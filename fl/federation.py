"""The learning side of a run: jobs are noted when given out, trained when merged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from fl import recipe
from fl.adapters import Adapter, Layout
from fl.aggregation import VersionRanks
from fl.changes import squared_changes
from fl.evaluation import Metrics, evaluate
from fl.executor import Executor, Inline, Processes
from fl.jobs import Cohort, Job, JobBook, Outcome
from fl.learning import Learning
from fl.local_metrics import ByLabel, LocalBench, LocalMetrics
from fl.merging import Component, MergeRow, combined, merge_adapters
from fl.partition import divide
from fl.peft_folders.base_delta import save_base_delta
from fl.remembered import Memory, folder_entry, write_folder
from fl.start import content_digest
from fl.store import Entry, Store
from fl.streams import stream
from fl.trainer import (
    NUM_THREADS,
    Chunk,
    Numbers,
    Trained,
    Trainer,
    as_adapter,
    from_entry,
    to_entry,
    trained,
)
from fl.versions import Version, refolded

if TYPE_CHECKING:
    pass


class Arrival(NamedTuple):
    """A job whose upload reached the server, and its unbiased weight."""

    job: str
    weight: float


class Merged(NamedTuple):
    """The version after a merge of one round's jobs, or of several's up to a round; per
    adapted matrix how it went and its ranks; the squared norms of the arrivals'
    changes, in their order; and how good the examined clients are."""

    version: str
    layers: tuple[MergeRow, ...] = ()
    ranks: tuple[VersionRanks, ...] = ()
    round_id: int = 0
    norms2: tuple[float, ...] = ()
    local: tuple[LocalMetrics, ...] = ()


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
            base=learning.backbone.digest(learning.task),
            lora=learning.lora,
            seed=seed,
            start=learning.start and content_digest(Path(learning.start)),
        )
        self._book = JobBook(learning.cohort_size)
        # told of every merge's components and of the version before, if anyone asks
        self.observe: Callable[[Sequence[Component], Adapter], None] | None = None
        self._bench = LocalBench(learning, self._shares, self._trainer, self._memory)
        self._needed = {self.initial_version}
        self._versions: dict[str, Version] = {}
        self._entries: dict[str, Entry] = {}
        self._states: dict[int, str] = {}  # by client, the job it goes on from
        self._kept: dict[str, Numbers] = {}  # by job, what it left with the client

    def submit(self, job: Job) -> str:
        """Note a job and return its digest; nothing is trained yet."""
        if not 1 <= job.rank <= self.learning.lora.r:
            raise ValueError(
                f"rank must be 1 to the adapter's {self.learning.lora.r}, "
                f"got {job.rank}"
            )
        if job.steps < 1:
            raise ValueError(f"steps must be at least 1, got {job.steps}")
        job = replace(job, state=self._states.get(job.client_id))
        name = self._recipe(job).digest
        self._book.add(name, job)
        return name

    def withdraw(self, job: str) -> None:
        """Forget a job that will never arrive."""
        self._book.remove([job])

    def merge(
        self, version: str, arrivals: Sequence[Arrival], examined: Sequence[str] = ()
    ) -> Merged:
        """Train the jobs that arrived and merge them into ``version``, the newest.

        What came of the ``examined`` jobs is compared with the merged adapter. Raises
        ``Diverged`` where a client's training does; all is then as before.
        """
        if not arrivals:
            return Merged(version)
        weights = dict(arrivals)
        names = self._book.ordered(weights)
        cohorts = self._book.cohorts(names)
        ordered = [(name, weights[name]) for name in names]
        merged = recipe.merged_version(
            self.learning.aggregation,
            version,
            ordered,
            cohorts=[cohort.digest for cohort in cohorts],
            server=self.learning.server,
        )
        entry = None if self.observe else self._memory.recall(merged)
        if entry is None or self.learning.keeps_state:
            self._train([cohort for cohort in cohorts if cohort.outcomes is None])
        else:
            self.steps_reused += sum(self._book.pending[n].steps for n in names)
        if entry is None:
            entry = self._merge(merged, version, ordered)
        own = [self._personal(name, cohorts) for name in self._book.ordered(examined)]
        self._renew_states(names)
        round_id = max(self._book.pending[name].round_id for name in names)
        self._book.remove(names)
        self._keep(merged, entry)
        norms2 = dict(zip(names, entry.facts["norms2"], strict=True))
        return Merged(
            version=merged,
            layers=tuple(MergeRow(**row) for row in entry.facts["rows"]),
            ranks=tuple(VersionRanks(*ranks) for ranks in entry.facts["ranks"]),
            round_id=round_id,
            norms2=tuple(norms2[name] for name, _ in arrivals),
            local=self._bench.compared(own, merged, lambda: self._version(merged)),
        )

    def _personal(self, name: str, cohorts: Sequence[Cohort]) -> tuple[int, ByLabel]:
        """Return how good the adapter that a job gave is on its client's labels."""
        cohort = next(cohort for cohort in cohorts if name in cohort.jobs)
        job = cohort.jobs[name]

        def arrived() -> Version:
            if cohort.outcomes is None:  # the merge itself was remembered
                before = self.steps_reused
                self._train([cohort])
                self.steps_reused = before
            fold = self._version(job.version).fold
            return Version(self._book.outcome(name).received, fold)

        origin = f"{name} in {cohort.digest}"
        return self._bench.personal(job.client_id, origin, arrived)

    def evaluate(self, version: str) -> Metrics:
        """Return the metrics of a kept version on the test split, computed once."""
        settings = self.learning.evaluation
        how = recipe.settings(settings)
        name = recipe.digest("evaluation", {"version": version, "settings": how})
        entry = self._memory.recall(name)
        if entry is None:
            resident = self._trainer.resident_as(self._version(version))
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

        kept = self._version(version)
        write_checkpoint(folder, kept.adapter, self.learning.lora)
        folds = {
            f"{name}.fold": self.learning.lora.scale * matrix
            for name, matrix in kept.folds().items()
        }
        save_base_delta(folder, folds, rule="add")
        write_base(folder, self.learning.backbone.load(self.learning.task))
        self._memory.remember(name, folder_entry(folder))

    def adapter_digest(self, version: str) -> str:
        """Return the digest of a kept version's numbers."""
        return str(self._entry(version).facts["adapter"])

    def close(self) -> None:
        """End the workers, if there are any."""
        self._executor.close()

    def _recipe(self, job: Job) -> recipe.JobRecipe:
        learning = self.learning
        exchange = learning.exchange(job.round_id)
        compression = learning.compression
        is_own = job.rank < learning.lora.r and learning.low_rank == "truncated"
        return recipe.JobRecipe(
            version=job.version,
            client_id=job.client_id,
            start_index=job.start_index,
            round_id=job.round_id,
            rank=job.rank,
            steps=job.steps,
            task=learning.task.digest,
            samples=recipe.samples_digest(self._shares[job.client_id]),
            training=recipe.settings(learning.training),
            payload=recipe.settings(learning.payload),
            seed=self.seed,
            treatment={
                "trains": exchange.trains,
                "sends": exchange.sends,
                "personal": learning.aggregation.contract.personal,
                "is_own_rank": is_own,
                "compression": None
                if compression is None
                else recipe.settings(compression),
                "state": job.state,
            },
        )

    def _entry(self, version: str) -> Entry:
        """Return a kept version's entry; that of the first one is made when asked."""
        if version not in self._needed:
            raise KeyError(f"version {version} is no longer kept")
        if version not in self._entries:
            entry = self._memory.recall(version)
            if entry is None:
                entry = Version(self._trainer.initial).entry((), {})
                self._memory.remember(version, entry)
            self._entries[version] = entry
        return self._entries[version]

    def _version(self, version: str) -> Version:
        """Return a kept version's numbers."""
        if version not in self._versions:
            entry, layout = self._entry(version), self._trainer.resident.layout
            self._versions[version] = Version.of(entry, layout)
        return self._versions[version]

    def _keep(self, newest: str, entry: Entry) -> None:
        """Remember the newest version, and forget what nothing needs."""
        self._entries[newest] = entry
        first = self.initial_version  # where pilots start from, and may a run again
        self._needed = needed = {first, newest, *self._book.versions()}
        self._entries = {v: e for v, e in self._entries.items() if v in needed}
        self._versions = {v: a for v, a in self._versions.items() if v in needed}
        states = {*self._states.values(), *self._book.states()}
        self._kept = {job: kept for job, kept in self._kept.items() if job in states}

    def _merge(
        self, merged: str, version: str, arrivals: Sequence[tuple[str, float]]
    ) -> Entry:
        """Merge what was trained, and remember the new version."""
        learning, before = self.learning, self._version(version)
        components = self._components(version, arrivals)
        if self.observe is not None:
            self.observe(components, before.adapter)
        result = merge_adapters(learning.aggregation, components, before.adapter)
        adapter = result.adapter
        if learning.keeps_as_sent:
            adapter = self._as_sent(adapter, arrivals)
        flat, memory = learning.server.step(
            before.adapter.flat, adapter.flat, before.memory
        )
        after = Version(
            Adapter(adapter.layout, flat), refolded(before, result.folds), memory
        )
        self._versions[merged] = after
        folds = {name: len(fold.lora_a) for name, fold in result.folds.items()}
        entry = after.entry(result.rows, folds)
        entry.facts["norms2"] = self._norms2([name for name, _ in arrivals])
        self._memory.remember(merged, entry)
        return entry

    def _components(
        self, version: str, arrivals: Sequence[tuple[str, float]]
    ) -> list[Component]:
        """Return the newest version with weight one, each client with its weight, and
        what it started from with minus that weight.

        A client that started from the newest version's first columns only takes the
        place of its share of the whole.
        """
        book, newest = self._book, self._version(version).adapter
        starts = []
        for name, _ in arrivals:
            job = book.pending[name]
            is_cut = self._layout(job.rank) != newest.layout
            rank = self._layout(job.rank).rank
            is_whole = job.version != version or not is_cut
            starts.append(self._start(job.version, rank) if is_whole else newest)
        ends = [book.outcome(name).received for name, _ in arrivals]
        weights = [weight for _, weight in arrivals]
        return combined(
            [
                Component(newest, 1.0),
                *(Component(a, -w) for a, w in zip(starts, weights, strict=True)),
                *(Component(a, w) for a, w in zip(ends, weights, strict=True)),
            ]
        )

    def _norms2(self, names: Sequence[str]) -> tuple[float, ...]:
        """Return how far each of these jobs moved from what it was sent, squared."""
        jobs = [self._book.pending[name] for name in names]
        ends = [self._book.outcome(name).received for name in names]
        starts = [
            self._start(job.version, end.layout.rank)
            for job, end in zip(jobs, ends, strict=True)
        ]
        return squared_changes(starts, ends)

    def _start(self, version: str, rank: int) -> Adapter:
        """Return what clients of some rank have of a kept version."""
        own = self._version(version).at_rank(rank, self._trainer.initial)
        learning = self.learning
        if learning.keeps_as_sent:
            return own
        receives = learning.exchange(1).receives
        return learning.payload.delivered(
            own, lambda part: learning.travels(part, receives)
        )

    def _as_sent(
        self, adapter: Adapter, arrivals: Sequence[tuple[str, float]]
    ) -> Adapter:
        """Return what everybody has of a new version, where the server has no more."""
        round_id = max(self._book.pending[name].round_id for name, _ in arrivals)
        receives = self.learning.exchange(round_id).receives
        return self.learning.payload.delivered(
            adapter, lambda part: self.learning.travels(part, receives)
        )

    def _layout(self, rank: int) -> Layout:
        """Return what the server receives of a client of this rank."""
        layout = self._trainer.resident.layout
        is_own = self.learning.low_rank == "truncated"
        return layout.at_rank(rank) if is_own else layout

    def _train(self, cohorts: Sequence[Cohort]) -> None:
        """Note what comes of each job of these cohorts."""
        unknown = []
        for cohort in cohorts:
            entry = self._memory.recall(cohort.digest)
            if entry is None:
                unknown.append(cohort)
            else:
                self.steps_reused += cohort.num_steps
                self._note(cohort, from_entry(entry))
        chunks = [self._chunk(cohort) for cohort in unknown]
        for cohort, outcomes in zip(
            unknown, self._executor.map(trained, chunks), strict=True
        ):
            self.steps_trained += cohort.num_steps
            self._note(cohort, outcomes)
            self._memory.remember(cohort.digest, to_entry(outcomes))

    def _note(self, cohort: Cohort, outcomes: Sequence[Trained]) -> None:
        cohort.outcomes = {
            name: Outcome(as_adapter(self._layout(job.rank), one.received), one.kept)
            for (name, job), one in zip(cohort.jobs.items(), outcomes, strict=True)
        }

    def _renew_states(self, names: Sequence[str]) -> None:
        """Note with what the clients of merged jobs go on."""
        for name in names if self.learning.keeps_state else ():
            kept = self._book.outcome(name).kept
            assert kept is not None
            self._states[self._book.pending[name].client_id] = name
            self._kept[name] = kept

    def _chunk(self, cohort: Cohort) -> Chunk:
        """Return all that a worker needs to train a cohort."""
        jobs = tuple(cohort.jobs.values())
        versions = sorted({job.version for job in jobs})
        rank = self.learning.lora.r
        folds = {name: self._version(name).fold for name in versions}
        return Chunk(
            jobs,
            starts={v: self._start(v, rank).flat.numpy() for v in versions},
            folds={v: fold.numpy() for v, fold in folds.items() if fold is not None},
            kept={job.state: self._kept[job.state] for job in jobs if job.state},
            samples={job.client_id: self._shares[job.client_id] for job in jobs},
        )
