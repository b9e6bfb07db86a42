"""Where cohorts are trained, and what their clients keep for the next time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fl.federation.jobs import Cohort, JobBook, Outcome, rank_of
from fl.federation.trainer import (
    Chunk,
    Numbers,
    Trained,
    Trainer,
    as_adapter,
    from_entry,
    to_entry,
    trained,
)
from fl.federation.version_cache import VersionCache
from fl.memory.memory import Memory
from fl.model.adapters import Layout
from fl.workers.executor import Executor


class CohortRunner:
    """Trains cohorts that are not remembered, here or in other processes."""

    def __init__(
        self,
        trainer: Trainer,
        executor: Executor[Trainer],
        memory: Memory,
        history: VersionCache,
        shares: Sequence[NDArray[np.int64]],
    ) -> None:
        self.steps_trained = 0
        self.steps_reused = 0
        self._trainer = trainer
        self._executor = executor
        self._memory = memory
        self._versions = history
        self._shares = shares
        self._states: dict[int, str] = {}  # by client, the job it goes on from
        self._kept: dict[str, Numbers] = {}  # by job, what it left with the client

    def train(self, cohorts: Sequence[Cohort]) -> None:
        """Note what comes of each job of these cohorts."""
        unknown = []
        for cohort in cohorts:
            entry = self._memory.recall(cohort.digest)
            if entry is None:
                unknown.append(cohort)
            else:
                self.steps_reused += cohort.num_steps
                self._note(cohort, from_entry(entry))
        chunks = [self.chunk(cohort) for cohort in unknown]
        for cohort, outcomes in zip(
            unknown, self._executor.map(trained, chunks), strict=True
        ):
            self.steps_trained += cohort.num_steps
            self._note(cohort, outcomes)
            self._memory.remember(cohort.digest, to_entry(outcomes))

    def layout(self, rank: int) -> Layout:
        """Return the layout of what the server receives of a client of this rank."""
        layout = self._trainer.lora_model.layout
        is_own = self._trainer.learning.small_clients == "truncated"
        return layout.at_rank(rank) if is_own else layout

    def state(self, client_id: int) -> str | None:
        """Return the job whose leftovers a client goes on with, if there are any."""
        return self._states.get(client_id)

    def renew_states(
        self, names: Sequence[str], book: JobBook, *, is_fresh: bool
    ) -> None:
        """Note with what the clients of merged jobs go on; after a merge into the first
        version nobody goes on with anything older. Who diverged keeps what it had."""
        if is_fresh:
            self._states.clear()
        for name in names:
            kept = book.outcome(name).kept
            if kept is None:
                continue
            self._states[book.pending[name].client_id] = name
            self._kept[name] = kept

    def forget_states(self, book: JobBook) -> None:
        """Forget what clients kept and no job under way nor any later one needs."""
        needed = {*self._states.values(), *book.states()}
        self._kept = {job: kept for job, kept in self._kept.items() if job in needed}

    def chunk(self, cohort: Cohort) -> Chunk:
        """Return all that a worker needs to train a cohort."""
        jobs = tuple(cohort.jobs.values())
        rank, history = self._trainer.learning.lora.r, self._versions
        versions = sorted({job.version for job in jobs})
        folds = {name: history.model(name).fold for name in versions}
        return Chunk(
            jobs,
            starts={v: history.sent(v, rank).flat.numpy() for v in versions},
            folds={v: fold.numpy() for v, fold in folds.items() if fold is not None},
            kept={job.state: self._kept[job.state] for job in jobs if job.state},
            samples={job.client_id: self._shares[job.client_id] for job in jobs},
        )

    def close(self) -> None:
        """End the workers, if there are any."""
        self._executor.close()

    def _note(self, cohort: Cohort, outcomes: Sequence[Trained]) -> None:
        cohort.outcomes = {
            name: Outcome(
                None
                if one.received is None
                else as_adapter(self.layout(rank_of(job)), one.received),
                one.kept,
                one.diverged_at,
            )
            for (name, job), one in zip(cohort.jobs.items(), outcomes, strict=True)
        }
