"""Which jobs are trained together: a function of simulated history only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fl.contract import Job
from fl.memory import recipe

if TYPE_CHECKING:
    from fl.model.adapters import Adapter


def rank_of(job: Job) -> int:
    """Return the rank that a job trains."""
    assert job.rank is not None, "real learning has a rank"
    return job.rank


def steps_of(job: Job) -> int:
    """Return the local steps of a submitted job."""
    assert job.steps is not None, "decided when it was submitted"
    return job.steps


@dataclass(frozen=True, eq=False, slots=True)
class Outcome:
    """What came of a job."""

    received: Adapter | None  # as the server has it; nothing where it diverged
    kept: NDArray[np.generic] | None  # what stays with the client, a flat adapter
    diverged_at: int | None = None  # the local step after which it was not finite


@dataclass(eq=False, slots=True)
class Cohort:
    """Jobs that are trained together, all or none, and what came of them."""

    jobs: dict[str, Job]  # by digest, in (client, start index) order
    outcomes: dict[str, Outcome] | None = None  # None: not needed so far

    @property
    def digest(self) -> str:
        """Return the digest of the ordered chunk."""
        return recipe.digest("cohort", {"jobs": list(self.jobs)})

    @property
    def num_steps(self) -> int:
        """Return the local steps of all its jobs."""
        return sum(steps_of(job) for job in self.jobs.values())


@dataclass
class JobBook:
    """Jobs from being given out to being merged or withdrawn.

    At a merge that needs a job of no cohort yet, all jobs under way that have none are
    put into cohorts of at most ``cohort_size``, in (client, start index) order. What a
    store holds or how many workers there are has no say in it.
    """

    cohort_size: int
    pending: dict[str, Job] = field(default_factory=dict)
    _cohort_of: dict[str, Cohort] = field(default_factory=dict)

    def add(self, name: str, job: Job) -> None:
        """Note a job that was given out."""
        if name in self.pending:
            raise ValueError(f"{job} is under way already")
        self.pending[name] = job

    def remove(self, names: Iterable[str]) -> None:
        """Forget jobs that were merged or will never arrive."""
        for name in names:
            del self.pending[name]
            self._cohort_of.pop(name, None)

    def ordered(self, names: Iterable[str]) -> list[str]:
        """Return names in (client, start index) order."""
        return sorted(names, key=self._place)

    def cohorts(self, names: Sequence[str]) -> list[Cohort]:
        """Return the cohorts of some jobs, each once, in the order of the names."""
        if any(name not in self._cohort_of for name in names):
            self._assign()
        return list(dict.fromkeys(self._cohort_of[name] for name in names))

    def outcome(self, name: str) -> Outcome:
        """Return what came of a job whose cohort was trained."""
        outcomes = self._cohort_of[name].outcomes
        assert outcomes is not None
        return outcomes[name]

    def received(self, name: str) -> Adapter:
        """Return what the server has of a job that did not diverge."""
        received = self.outcome(name).received
        assert received is not None
        return received

    def versions(self) -> set[str]:
        """Return the versions that are still needed, by a start or by a cohort."""
        needed = {job.version for job in self.pending.values()}
        for cohort in self._cohort_of.values():
            if cohort.outcomes is None:
                needed |= {job.version for job in cohort.jobs.values()}
        return needed

    def states(self) -> set[str]:
        """Return the jobs whose leftovers a job under way starts with."""
        jobs = [*self.pending.values()]
        for cohort in self._cohort_of.values():
            jobs += cohort.jobs.values()
        return {job.state for job in jobs if job.state is not None}

    def _assign(self) -> None:
        free = self.ordered(n for n in self.pending if n not in self._cohort_of)
        for first in range(0, len(free), self.cohort_size):
            names = free[first : first + self.cohort_size]
            cohort = Cohort({name: self.pending[name] for name in names})
            self._cohort_of.update(dict.fromkeys(names, cohort))

    def _place(self, name: str) -> tuple[int, int]:
        job = self.pending[name]
        return job.client_id, job.start_index
