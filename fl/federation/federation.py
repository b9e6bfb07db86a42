"""The learning side of a run: jobs are noted when given out, trained when merged."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from fl.aggregation import VersionRanks
from fl.contract import Arrival, Branch, Job, Merged, Score
from fl.federation.averages import Averages
from fl.federation.code_digests import Code
from fl.federation.cohort_runner import CohortRunner
from fl.federation.divergence import MergeDiverged, Steps, reason, require_finite
from fl.federation.federated_model import FederatedModel
from fl.federation.jobs import (
    Cohort,
    JobBook,
    cohort_digest,
    num_steps,
    steps_of,
    ticket_of,
)
from fl.federation.local_metrics import ByLabel, LocalScorer
from fl.federation.merger import Merger, Observer
from fl.federation.trainer import Trainer
from fl.federation.version_cache import VersionCache
from fl.federation.versions import StoredVersion, Version
from fl.federation.warm_start import content_digest
from fl.local import LocalTraining
from fl.memory import recipe
from fl.memory.files import Damaged
from fl.memory.memory import Memory, folder_entry, write_folder
from fl.memory.store import Entry, Store
from fl.model.evaluation import measured
from fl.model.evaluation_settings import MeasuredSplit
from fl.partition import divide
from fl.peft_folders.base_delta import save_base_delta
from fl.settings.federation import FederationSettings
from fl.streams import NUM_THREADS, stream
from fl.workers.executor import Executor, Inline


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
        executor: Callable[[Trainer], Executor[Trainer]] = Inline,
        trainer: LocalTraining | None = None,
    ) -> None:
        """Divide the data; the model is made when the first result is needed.

        Cohorts are trained by the ``executor`` of a trainer, by default in this
        process. ``trainer`` takes the place of ``learning.local_training``.
        """
        if trainer is not None:
            learning = replace(learning, local_training=trainer)
        self.learning = learning
        self.seed = seed
        self._model = FederatedModel(learning, seed, device, precision)
        here = recipe.Environment.here(
            device=device, threads=NUM_THREADS, precision=precision
        )
        self._memory = Memory(store, here)
        self._code = Code.of(learning)
        self._shares = divide(
            learning.partition, learning.task, num_clients, stream(seed, "partition")
        )
        self.num_samples = tuple(len(share) for share in self._shares)
        self.initial_version = _initial_version(learning, seed, self._code)
        self._book = JobBook(learning.cohort_size)
        self._local = LocalScorer(
            learning, self._shares, self._model, self._memory, self._code.evaluation
        )
        self._versions = VersionCache(self._model, self._memory, self.initial_version)
        self._averages = Averages(learning.evaluation.average, self._versions)
        trained = self._memory, self._versions, self._book, self._shares
        self._executor = executor(Trainer(self._model))
        self._runner = CohortRunner(self._model, self._executor, *trained)
        self._merger = Merger(
            learning, self._versions, self._runner, self._book, self.num_samples, seed
        )

    @property
    def observe(self) -> Observer | None:
        """Return what is called with every merge's components, the version before and
        the round within its phase; while it is set merges are computed, not recalled.
        """
        return self._merger.observe

    @observe.setter
    def observe(self, observer: Observer | None) -> None:
        self._merger.observe = observer

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
        ticket = ticket_of(
            job, self.learning, self._shares, self.seed, code=self._code.job
        )
        self._book.add(ticket, job)
        return ticket

    def withdraw(self, ticket: str) -> None:
        """Forget a job that will never arrive."""
        self._book.remove([ticket])

    def merge(
        self, version: str, arrivals: Sequence[Arrival], examined: Sequence[str] = ()
    ) -> Merged:
        """Train the jobs that arrived and merge them into ``version``, the newest.

        What came of the ``examined`` jobs is compared with the merged adapter. Jobs
        whose numbers are not finite are left out; without any other the version stays.
        Where that is to stop learning it raises ``Diverged`` or ``MergeDiverged``
        instead, and all is as before.
        """
        if not arrivals:
            return Merged(version)
        by_ticket = {arrival.ticket: arrival for arrival in arrivals}
        tickets = self._book.ordered(by_ticket)
        ordered = [by_ticket[ticket] for ticket in tickets]
        cohorts = self._book.cohorts(tickets)
        name, entry = self._recalled_or_merged(version, ordered, cohorts)
        lost = entry.record.diverged
        self._require_finite(lost, ordered)
        epsilons = self._epsilons(arrivals)
        newest = name if entry.arrays else version
        kept = [ticket for ticket in self._book.ordered(examined) if ticket not in lost]
        own = [self._personal(ticket, cohorts) for ticket in kept]
        self._finish(tickets, is_fresh=version == self.initial_version)
        last = entry if entry.arrays else self._versions.entry(version)
        self._keep(newest, last, version)
        model = partial(self._versions.model, newest)
        return Merged(
            version=newest,
            layers=entry.record.layers,
            norms2=tuple(entry.record.norms2.get(one.ticket) for one in arrivals),
            scores=self._local.compared(own, newest, model),
            diverged={ticket: reason(step) for ticket, step in lost.items()},
            sum_norm2=entry.record.sum_norm2,
            losses=tuple(entry.record.losses.get(one.ticket) for one in arrivals),
            epsilons=epsilons,
        )

    def _require_finite(self, lost: Steps, arrivals: Sequence[Arrival]) -> None:
        if self.learning.on_divergence == "stop":
            weights = [arrival.weight for arrival in arrivals]
            round_id = self._book.round_id(arrival.ticket for arrival in arrivals)
            require_finite(lost, weights, self._book.pending, round_id)

    def _epsilons(self, arrivals: Sequence[Arrival]) -> tuple[float, ...]:
        """Return the epsilon that each arrival's client has spent by all its starts so
        far, merged or not; none where no accountant is asked."""
        spent = self.learning.local_training.demands.spent
        if spent is None:
            return ()
        training = self.learning.training
        size = (
            training.per_device_train_batch_size * training.gradient_accumulation_steps
        )
        jobs = [self._book.pending[one.ticket] for one in arrivals]
        return tuple(
            spent(
                self.num_samples[job.client_id],
                size,
                steps_of(job) * (job.start_index + 1),
            )
            for job in jobs
        )

    def _keep(self, newest: str, entry: Entry[StoredVersion], before: str) -> None:
        """Note the newest version, made of another."""
        self._versions.keep(newest, entry, self._book.versions())
        self._averages.follow(newest, before)

    def _finish(self, tickets: Sequence[str], *, is_fresh: bool) -> None:
        """Keep what the clients of merged jobs keep, and forget the jobs."""
        if self.learning.keeps_state:
            self._runner.renew_states(tickets, is_fresh=is_fresh)
        self._book.remove(tickets)
        self._runner.forget_states()

    def _recalled_or_merged(
        self, version: str, arrivals: Sequence[Arrival], cohorts: Sequence[Cohort]
    ) -> tuple[str, Entry[StoredVersion]]:
        """Return the name of a merge and its result, as recalled or after the
        training it needs."""
        name = recipe.merged_version(
            self.learning.aggregation,
            version,
            arrivals,
            cohorts=[cohort_digest(cohort) for cohort in cohorts],
            server=self.learning.server_optimiser,
            code=self._code.merge,
        )
        entry = None if self.observe else self._memory.recall(name, StoredVersion)
        if entry is None or self.learning.keeps_state:
            self._runner.train(cohorts)
        else:
            jobs = (self._book.pending[arrival.ticket] for arrival in arrivals)
            self._runner.steps_reused += num_steps(jobs)
        if entry is None:
            entry = self._merger.merged(name, version, arrivals)
            self._memory.remember(name, entry)
        return name, entry

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
        name = recipe.joined_version(
            self.learning.aggregation, version, branches, code=self._code.merge
        )
        entry = None if self.observe else self._memory.recall(name, StoredVersion)
        if entry is None:
            entry = self._merger.joined(name, version, branches)
            self._memory.remember(name, entry)
        if not entry.arrays:
            if self.learning.on_divergence == "stop":
                raise MergeDiverged(round_id, max(branch.weight for branch in branches))
            return Merged(version)
        self._keep(name, entry, version)
        return Merged(name, entry.record.layers)

    def _personal(self, ticket: str, cohorts: Sequence[Cohort]) -> tuple[int, ByLabel]:
        """Return how good the adapter that a job gave is on its client's labels."""
        cohort = next(cohort for cohort in cohorts if ticket in cohort)
        job = cohort[ticket]

        def arrived() -> Version:
            before = self._runner.steps_reused
            self._runner.train([cohort])  # where the merge itself was remembered
            self._runner.steps_reused = before
            fold = self._versions.model(job.version).fold
            return Version(self._runner.received(ticket), fold)

        origin = f"{ticket} in {cohort_digest(cohort)}"
        return self._local.personal(job.client_id, origin, arrived)

    def evaluate(self, version: str, split: MeasuredSplit = "test") -> Score:
        """Return the metrics of a kept version on a split, computed once; those of the
        average of the versions that led to it where the settings ask for that."""
        asked = {
            "version": self._averages.name(version),
            "split": split,
            "settings": recipe.settings(self.learning.evaluation),
            "task": self.learning.task.digest,
            "keeps_outputs": self.learning.training.cache_frozen_layers,
            "code": self._code.evaluation,
        }
        return self._memory.get(
            recipe.digest("evaluation", asked),
            Score,
            lambda: Entry(self.measured(self._averages.model(version), split)),
        ).record

    def measured(self, model: Version, split: MeasuredSplit = "test") -> Score:
        """Return the metrics of any model on a split."""
        self._executor.prepare()  # what is not remembered is trained soon
        settings = self.learning.evaluation
        num_samples = len(self.learning.task.labels("test"))
        return measured(
            self._model.as_version(model),
            self._model.task,
            "test",
            settings.places(num_samples, split),
            settings=settings,
            shown=settings.split_name(num_samples, split),
        )

    def export(self, version: str, folder: Path, *, with_base: bool = False) -> None:
        """Write a kept version as a PEFT checkpoint with its model card; the base model
        of a run's own making, or with ``with_base`` any, lies in ``base/``."""
        made: dict[str, recipe.Json] = {
            "version": version,
            "code": self._code.export,
            "base": recipe.settings(self.learning.backbone),
            "with_base": with_base,
        }
        name = recipe.digest("export", made)
        entry = self._memory.recall(name, list[str])
        if entry is not None:
            with suppress(Damaged):  # its names lead out of the folder: made again
                write_folder(entry, folder)
                return
        from fl.model.export import Exporter

        kept, learning = self._versions.model(version), self.learning
        changes = {n: learning.lora.scale * one for n, one in kept.folds().items()}
        exporter = Exporter(
            backbone=learning.backbone,
            task=learning.task,
            lora=learning.lora,
            with_base=with_base,
        )
        folds = exporter.write(folder, kept.adapter, changes)
        named = {f"{module}.fold": fold for module, fold in folds.items()}
        save_base_delta(folder, named, rule="add")
        self._memory.remember(name, folder_entry(folder))

    def ranks(self, version: str) -> tuple[VersionRanks, ...]:
        """Return the ranks of a kept version, one pair per adapted matrix."""
        return self._versions.entry(version).record.ranks

    def adapter_digest(self, version: str) -> str:
        """Return the digest of a kept version's numbers."""
        return self._versions.entry(version).record.digest

    def close(self) -> None:
        """End the workers, if there are any."""
        self._executor.close()

    def turn(self, tickets: Iterable[str]) -> int:
        """Return the round within its phase of a merge of these jobs: the latest that
        one is of."""
        return self._book.turn(tickets)


def _initial_version(learning: FederationSettings, seed: int, code: Code) -> str:
    """Return the name of the version that clients start from."""
    return recipe.initial_version(
        base=learning.backbone.digest(learning.task),
        lora=learning.lora,
        seed=seed,
        code=code.base,
        sent=learning.payload if learning.keeps_as_sent else None,
        start=learning.start and content_digest(Path(learning.start)),
    )
