"""The learning side of a run: jobs are noted when given out, trained when merged."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Literal

from fl.aggregation import VersionRanks
from fl.contract import Arrival, Branch, Job, LayerError, Merged, Score
from fl.federation.changes import squared_changes
from fl.federation.cohort_runner import CohortRunner
from fl.federation.divergence import (
    MergeDiverged,
    diverged,
    is_finite,
    is_void,
    reason,
    require_finite,
    void_entry,
)
from fl.federation.jobs import Cohort, JobBook, rank_of, steps_of
from fl.federation.local_metrics import ByLabel, LocalScorer
from fl.federation.merging import Component, combined, merge_adapters
from fl.federation.trainer import NUM_THREADS, Trainer
from fl.federation.version_cache import VersionCache
from fl.federation.versions import Version, refolded
from fl.federation.warm_start import content_digest
from fl.memory import recipe
from fl.memory.memory import Memory, folder_entry, write_folder
from fl.memory.store import Entry, Store
from fl.memory.user_code import own_code
from fl.model.adapters import Adapter
from fl.model.evaluation import evaluate
from fl.partition import divide
from fl.peft_folders.base_delta import save_base_delta
from fl.settings.federation import FederationSettings
from fl.streams import stream
from fl.workers.executor import Executor, Inline
from fl.workers.processes import processes


class Federation:
    """Clients' data, the versions of the global adapter, and the jobs under way.

    Versions and jobs are named by recipe; what a store remembers is not computed again,
    and torch is imported when something is. A version is kept while it is the newest,
    or while a job that started from it may still be needed: submit when the client is
    given the version, before its download. What clients keep for themselves is of the
    versions that led to the newest: who starts from the first one has nothing yet.
    """

    def __init__(
        self,
        learning: FederationSettings,
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
        self._trainer = Trainer(learning, seed, device, precision)
        executor: Executor[Trainer] = (
            Inline(self._trainer)
            if workers == 1
            else processes(workers, Trainer(learning, seed, device, precision))
        )
        self._memory = Memory(
            store,
            recipe.Environment.here(
                device=device,
                threads=NUM_THREADS,
                precision=precision,
                own=own_code(getattr(learning, part.name) for part in fields(learning)),
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
        self.observe: Callable[[Sequence[Component], Version], None] | None = None
        self._local = LocalScorer(learning, self._shares, self._trainer, self._memory)
        self._versions = VersionCache(self._trainer, self._memory, self.initial_version)
        self._runner = CohortRunner(
            self._trainer, executor, self._memory, self._versions, self._shares
        )

    @property
    def steps_trained(self) -> int:
        """Return how many local steps were computed so far."""
        return self._runner.steps_trained

    @property
    def steps_reused(self) -> int:
        """Return how many local steps were remembered from earlier runs."""
        return self._runner.steps_reused

    def submit(self, job: Job) -> str:
        """Note a job and return its digest; nothing is trained yet."""
        rank = self.learning.lora.r if job.rank is None else job.rank
        steps = job.steps
        if steps is None:
            steps = self.learning.training.local_steps
        if not 1 <= rank <= self.learning.lora.r:
            raise ValueError(
                f"rank must be 1 to the adapter's {self.learning.lora.r}, got {rank}"
            )
        if steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}")
        is_fresh = job.version == self.initial_version
        state = None if is_fresh else self._runner.state(job.client_id)
        job = replace(job, rank=rank, steps=steps, state=state)
        name = self._name(job)
        self._book.add(name, job)
        return name

    def withdraw(self, job: str) -> None:
        """Forget a job that will never arrive."""
        self._book.remove([job])

    def merge(
        self, version: str, arrivals: Sequence[Arrival], examined: Sequence[str] = ()
    ) -> Merged:
        """Train the jobs that arrived and merge them into ``version``, the newest.

        What came of the ``examined`` jobs is compared with the merged adapter. Whose
        numbers are not finite is left out; without anybody the version stays. Where
        that is to stop learning it raises ``Diverged`` or ``MergeDiverged`` instead,
        and all is as before.
        """
        if not arrivals:
            return Merged(version)
        by_name = {arrival.ticket: arrival for arrival in arrivals}
        names = self._book.ordered(by_name)
        cohorts = self._book.cohorts(names)
        ordered = [by_name[name] for name in names]
        merged = self._merged_version(version, ordered, cohorts)
        entry = self._remembered(merged, version, ordered, cohorts)
        if self.learning.on_divergence == "stop":
            weights = {arrival.ticket: arrival.weight for arrival in arrivals}
            require_finite(entry, weights, self._book.pending, self.round_id(names))
        lost = diverged(entry)
        newest = version if is_void(entry) else merged
        own = [
            self._personal(name, cohorts)
            for name in self._book.ordered(examined)
            if name not in lost
        ]
        if self.learning.keeps_state:
            is_fresh = version == self.initial_version
            self._runner.renew_states(names, self._book, is_fresh=is_fresh)
        self._book.remove(names)
        self._runner.forget_states(self._book)
        last = self._versions.entry(version) if is_void(entry) else entry
        self._versions.keep(newest, last, self._book.versions())
        return Merged(
            version=newest,
            layers=tuple(LayerError(*row) for row in entry.facts["rows"]),
            norms2=tuple(entry.facts["norms2"].get(a.ticket) for a in arrivals),
            scores=self._local.compared(
                own, newest, lambda: self._versions.model(newest)
            ),
            diverged={name: reason(step) for name, step in lost.items()},
        )

    def _merged_version(
        self, version: str, ordered: Sequence[Arrival], cohorts: Sequence[Cohort]
    ) -> str:
        """Return the name of what a merge will come to."""
        return recipe.merged_version(
            self.learning.aggregation,
            version,
            ordered,
            cohorts=[cohort.digest for cohort in cohorts],
            server=self.learning.server_optimiser,
        )

    def _remembered(
        self,
        merged: str,
        version: str,
        ordered: Sequence[Arrival],
        cohorts: Sequence[Cohort],
    ) -> Entry:
        """Return what a merge came to, as recalled or after the training it needs."""
        entry = None if self.observe else self._memory.recall(merged)
        if entry is None or self.learning.keeps_state:
            self._runner.train([c for c in cohorts if c.outcomes is None])
        else:
            self._runner.steps_reused += sum(
                steps_of(self._book.pending[arrival.ticket]) for arrival in ordered
            )
        if entry is None:
            entry = self._merge(merged, version, ordered)
        return entry

    def hold(self, versions: Collection[str]) -> None:
        """Keep versions that are in force side by side, such as those of edge servers;
        a merge takes any of them for the newest."""
        self._versions.hold(versions)

    def join(
        self, version: str, branches: Sequence[Branch], *, round_id: int
    ) -> Merged:
        """Merge held versions that were made of ``version`` side by side, each as it is
        sent and with its weight; the server's optimiser takes no step. A merge that is
        not finite is left out, or raises ``MergeDiverged``, as for arrivals."""
        name = recipe.joined_version(self.learning.aggregation, version, branches)
        entry = None if self.observe else self._memory.recall(name)
        if entry is None:
            entry = self._joined(name, version, branches) or void_entry({})
            self._memory.remember(name, entry)
        if is_void(entry):
            if self.learning.on_divergence == "stop":
                raise MergeDiverged(round_id, max(branch.weight for branch in branches))
            return Merged(version)
        self._versions.keep(name, entry, self._book.versions())
        return Merged(
            version=name,
            layers=tuple(LayerError(*row) for row in entry.facts["rows"]),
        )

    def _joined(
        self, name: str, version: str, branches: Sequence[Branch]
    ) -> Entry | None:
        """Return the version after branches that are merged as clients' adapters are,
        and note its model; nothing where it is not finite."""
        before, learning = self._versions.model(version), self.learning
        exchanges = [learning.aggregation.exchange(index) for index in range(2)]
        parts = {part for exchange in exchanges for part in exchange.receives}
        terms = [Component(before.adapter, 1.0)]
        for branch in branches:
            made, weight = self._versions.model(branch.version).adapter, branch.weight
            sent = made if branch.version == version else learning.as_sent(made, parts)
            terms.append(Component(before.adapter, -weight))
            terms.append(Component(sent, weight))
        components = combined(terms)
        if self.observe is not None:
            self.observe(components, before)
        result = merge_adapters(self.learning.aggregation, components, before.adapter)
        after = Version(result.adapter, refolded(before, result.folds), before.memory)
        if not is_finite(after):
            return None
        self._versions.note(name, after)
        folds = {layer: len(fold.lora_a) for layer, fold in result.folds.items()}
        return after.entry(result.rows, folds)

    def _personal(self, name: str, cohorts: Sequence[Cohort]) -> tuple[int, ByLabel]:
        """Return how good the adapter that a job gave is on its client's labels."""
        cohort = next(cohort for cohort in cohorts if name in cohort.jobs)
        job = cohort.jobs[name]

        def arrived() -> Version:
            if cohort.outcomes is None:  # the merge itself was remembered
                before = self._runner.steps_reused
                self._runner.train([cohort])
                self._runner.steps_reused = before
            fold = self._versions.model(job.version).fold
            return Version(self._book.received(name), fold)

        origin = f"{name} in {cohort.digest}"
        return self._local.personal(job.client_id, origin, arrived)

    def evaluate(self, version: str) -> Score:
        """Return the metrics of a kept version on the test split, computed once."""
        settings = self.learning.evaluation
        how = recipe.settings(settings)
        name = recipe.digest("evaluation", {"version": version, "settings": how})
        entry = self._memory.recall(name)
        if entry is None:
            entry = Entry(self.measured(self._versions.model(version))._asdict())
            self._memory.remember(name, entry)
        return Score(**entry.facts)

    def measured(self, model: Version) -> Score:
        """Return the metrics of any model on the test split."""
        settings = self.learning.evaluation
        split = settings.split_name(len(self.learning.task.labels("test")))
        lora_model = self._trainer.model_as(model)
        return evaluate(lora_model, self._trainer.task, split, settings)

    def export(self, version: str, folder: Path) -> None:
        """Write a kept version as a PEFT checkpoint, its base model in ``base/``."""
        name = recipe.digest("export", {"version": version})
        entry = self._memory.recall(name)
        if entry is not None:
            write_folder(entry, folder)
            return
        from fl.model.checkpoint import write_base, write_checkpoint

        kept = self._versions.model(version)
        write_checkpoint(folder, kept.adapter, self.learning.lora)
        folds = {
            f"{name}.fold": self.learning.lora.scale * matrix
            for name, matrix in kept.folds().items()
        }
        save_base_delta(folder, folds, rule="add")
        write_base(folder, self.learning.backbone.load(self.learning.task))
        self._memory.remember(name, folder_entry(folder))

    def ranks(self, version: str) -> tuple[VersionRanks, ...]:
        """Return the ranks of a kept version, one pair per adapted matrix."""
        found = self._versions.entry(version).facts["ranks"]
        return tuple(VersionRanks(*ranks) for ranks in found)

    def adapter_digest(self, version: str) -> str:
        """Return the digest of a kept version's numbers."""
        return str(self._versions.entry(version).facts["adapter"])

    def close(self) -> None:
        """End the workers, if there are any."""
        self._runner.close()

    def _name(self, job: Job) -> str:
        """Return the digest of what decides a job's result."""
        learning = self.learning
        exchange = learning.exchange(job.round_id)
        compression = learning.compression
        is_small = rank_of(job) < learning.lora.r
        return recipe.job_digest(
            job,
            task=learning.task.digest,
            samples=recipe.samples_digest(self._shares[job.client_id]),
            training=recipe.settings(learning.training),
            payload=recipe.settings(learning.payload),
            seed=self.seed,
            treatment={
                "trains": exchange.trains,
                "sends": exchange.sends,
                "personal": learning.aggregation.contract.personal,
                "is_own_rank": is_small and learning.small_clients == "truncated",
                "compression": None
                if compression is None
                else recipe.settings(compression),
                "state": job.state,
            },
        )

    def _merge(self, merged: str, version: str, arrivals: Sequence[Arrival]) -> Entry:
        """Merge what was trained, and remember the new version, or that there is none:
        who diverged is left out, and so is a merge that itself does."""
        steps = {a.ticket: self._book.outcome(a.ticket).diverged_at for a in arrivals}
        lost = {name: step for name, step in steps.items() if step is not None}
        kept = [arrival for arrival in arrivals if arrival.ticket not in lost]
        entry = self._merged(merged, version, kept) if kept else None
        if entry is None:
            entry = void_entry(steps)
        else:
            entry.facts["diverged"] = lost
        self._memory.remember(merged, entry)
        return entry

    def _merged(
        self, merged: str, version: str, arrivals: Sequence[Arrival]
    ) -> Entry | None:
        """Return the version after finite arrivals, and note its model; nothing where
        it is not finite itself."""
        if not all(math.isfinite(arrival.weight) for arrival in arrivals):
            return None
        learning, before = self.learning, self._versions.model(version)
        components = self._components(version, arrivals)
        if self.observe is not None:
            self.observe(components, before)
        result = merge_adapters(learning.aggregation, components, before.adapter)
        flat, memory = learning.server_optimiser.step(
            before.adapter.flat, result.adapter.flat, before.memory
        )
        adapter = Adapter(result.adapter.layout, flat)
        names = [arrival.ticket for arrival in arrivals]
        if learning.keeps_as_sent:
            receives = learning.exchange(self.round_id(names)).receives
            adapter = learning.as_sent(adapter, receives)
        after = Version(adapter, refolded(before, result.folds), memory)
        if not is_finite(after):
            return None
        self._versions.note(merged, after)
        folds = {name: len(fold.lora_a) for name, fold in result.folds.items()}
        entry = after.entry(result.rows, folds)
        entry.facts["norms2"] = dict(zip(names, self._norms2(names), strict=True))
        return entry

    def _components(self, version: str, arrivals: Sequence[Arrival]) -> list[Component]:
        """Return the newest version with weight one, each client with its weight, and
        what it started from with minus that weight.

        A client that started from the newest version's first columns only takes the
        place of its share of the whole, and so does one whose model is mixed in.
        """
        book, newest = self._book, self._versions.model(version).adapter
        starts = []
        for arrival in arrivals:
            job = book.pending[arrival.ticket]
            layout = self._runner.layout(rank_of(job))
            is_whole = job.version != version or layout == newest.layout
            sent = self._versions.sent(job.version, layout.rank)
            starts.append(sent if is_whole and not arrival.is_mixed else newest)
        ends = [book.received(arrival.ticket) for arrival in arrivals]
        weights = [arrival.weight for arrival in arrivals]
        return combined(
            [
                Component(newest, 1.0),
                *(Component(a, -w) for a, w in zip(starts, weights, strict=True)),
                *(Component(a, w) for a, w in zip(ends, weights, strict=True)),
            ]
        )

    def _norms2(self, names: Sequence[str]) -> tuple[float, ...]:
        """Return how far each of these jobs moved from what it was sent, squared, in
        what does not stay with its client."""
        jobs = [self._book.pending[name] for name in names]
        ends = [self._book.received(name) for name in names]
        starts = [
            self._versions.sent(job.version, end.layout.rank)
            for job, end in zip(jobs, ends, strict=True)
        ]
        personal = self.learning.aggregation.contract.personal
        return squared_changes(starts, ends, without=personal)

    def round_id(self, names: Iterable[str]) -> int:
        """Return the round of a merge of these jobs: the latest that one is of."""
        return max((self._book.pending[name].round_id for name in names), default=0)
