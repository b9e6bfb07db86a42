"""Where cohorts are trained, and what their clients keep for the next time."""

from __future__ import annotations

from collections.abc import Sequence

from fl.federation.federated_model import FederatedModel
from fl.federation.jobs import (
    Cohort,
    JobBook,
    Numbers,
    Shares,
    cohort_digest,
    num_steps,
    rank_of,
)
from fl.federation.trainer import (
    Chunk,
    StoredOutcome,
    Trainer,
    as_adapter,
    from_entry,
    to_entry,
)
from fl.federation.version_cache import VersionCache
from fl.memory.memory import Memory
from fl.model.adapters import Adapter, Layout
from fl.workers.executor import Executor


class CohortRunner:
    """Trains cohorts that are not remembered, here or in other processes."""

    def __init__(
        self,
        model: FederatedModel,
        executor: Executor[Trainer],
        memory: Memory,
        versions: VersionCache,
        book: JobBook,
        shares: Shares,
    ) -> None:
        self.steps_trained = 0
        self.steps_reused = 0
        self._model = model
        self._executor = executor
        self._memory = memory
        self._versions = versions
        self._book = book
        self._shares = shares
        self._states: dict[int, str] = {}  # by client, the job that it continues from
        self._kept: dict[str, Numbers] = {}  # by job, what it left with the client

    def train(self, cohorts: Sequence[Cohort]) -> None:
        """Note what comes of each job of the cohorts that are not trained yet."""
        unknown = []
        for cohort in cohorts:
            if self._book.is_trained(cohort):
                continue
            entry = self._memory.recall(cohort_digest(cohort), list[StoredOutcome])
            if entry is None:
                unknown.append(cohort)
            else:
                self.steps_reused += num_steps(cohort.values())
                self._book.note(cohort, from_entry(entry))
        if unknown:
            self._executor.prepare()
        chunks = [self.chunk(cohort) for cohort in unknown]
        for cohort, outcomes in zip(
            unknown, self._executor.map(Trainer.train, chunks), strict=True
        ):
            self.steps_trained += num_steps(cohort.values())
            self._book.note(cohort, outcomes)
            self._memory.remember(cohort_digest(cohort), to_entry(outcomes))

    def received(self, ticket: str) -> Adapter:
        """Return what the server has of a trained job that did not diverge."""
        numbers = self._book.outcomes[ticket].received
        assert numbers is not None
        return as_adapter(self.layout(rank_of(self._book.pending[ticket])), numbers)

    def layout(self, rank: int) -> Layout:
        """Return the layout of what the server receives of a client of this rank."""
        layout = self._model.lora_model.layout
        is_own = self._model.learning.small_clients == "truncated"
        return layout.at_rank(rank) if is_own else layout

    def state(self, client_id: int) -> str | None:
        """Return the job whose leftovers a client continues from, if there are any."""
        return self._states.get(client_id)

    def renew_states(self, tickets: Sequence[str], *, is_fresh: bool) -> None:
        """Note what the clients of merged jobs continue from; after a merge into the
        first version no client continues from anything older. A client whose job
        diverged keeps what it had."""
        if is_fresh:
            self._states.clear()
        for ticket in tickets:
            kept = self._book.outcomes[ticket].kept
            if kept is not None:
                self._states[self._book.pending[ticket].client_id] = ticket
                self._kept[ticket] = kept

    def forget_states(self) -> None:
        """Forget what clients kept and no job under way nor any later one needs."""
        needed = {*self._states.values(), *self._book.states()}
        self._kept = {job: kept for job, kept in self._kept.items() if job in needed}

    def chunk(self, cohort: Cohort) -> Chunk:
        """Return all that a worker needs to train a cohort."""
        jobs = tuple(cohort.values())
        rank, versions = self._model.learning.lora.r, self._versions
        names = sorted({job.version for job in jobs})
        folds = {name: versions.model(name).fold for name in names}
        shared = {name: versions.shared(name) for name in names}
        return Chunk(
            jobs,
            starts={v: versions.sent(v, rank).flat.numpy() for v in names},
            folds={v: fold.numpy() for v, fold in folds.items() if fold is not None},
            kept={job.state: self._kept[job.state] for job in jobs if job.state},
            shared={v: one.numpy() for v, one in shared.items() if one is not None},
            samples={job.client_id: self._shares[job.client_id] for job in jobs},
        )
