"""Which jobs are trained together: a function of simulated history only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fl.contract import Job
from fl.memory import recipe
from fl.settings.federation import FederationSettings

Numbers: TypeAlias = NDArray[np.generic]  # an adapter's, or a fold's, flat
Shares: TypeAlias = Sequence[NDArray[np.int64]]  # each client's training samples

# Jobs that are trained together, all or none, by ticket in (client, start index) order.
Cohort: TypeAlias = Mapping[str, Job]


class Outcome(NamedTuple):
    """What came of a job, as plain arrays; nothing of one that diverged, but when."""

    received: Numbers | None  # as the server has it
    kept: Numbers | None  # what stays with the client
    diverged_at: int | None = None  # the local step after which it was not finite
    loss: float | None = None  # the mean over its mini-batches
    sent: Numbers | None = None  # by the local training, besides the adapter


def rank_of(job: Job) -> int:
    """Return the rank that a job trains."""
    assert job.rank is not None, "real learning has a rank"
    return job.rank


def steps_of(job: Job) -> int:
    """Return the local steps of a submitted job."""
    assert job.steps is not None, "decided when it was submitted"
    return job.steps


def num_steps(jobs: Iterable[Job]) -> int:
    """Return the local steps of all these jobs."""
    return sum(steps_of(job) for job in jobs)


def cohort_digest(cohort: Cohort) -> str:
    """Return the digest of an ordered cohort."""
    return recipe.digest("cohort", {"jobs": list(cohort)})


def ticket_of(
    job: Job, learning: FederationSettings, shares: Shares, seed: int, *, code: str
) -> str:
    """Return the digest of everything that decides what comes of a job."""
    exchange = learning.exchange(job.turn)
    compression = learning.compression
    is_small = rank_of(job) < learning.lora.r
    made: dict[str, recipe.Json] = {
        **asdict(job),
        "task": learning.task.digest,
        "samples": recipe.samples_digest(shares[job.client_id]),
        "training": recipe.settings(learning.training),
        "local_training": recipe.settings(learning.local_training),
        "payload": recipe.settings(learning.payload),
        "seed": seed,
        "trains": exchange.trains,
        "sends": exchange.sends,
        "rounded": _rounded(learning),
        "personal": learning.aggregation.contract.personal,
        "is_own_rank": is_small and learning.small_clients == "truncated",
        "compression": recipe.settings(compression) if compression else None,
        "code": code,
    }
    return recipe.digest("job", made)


def _rounded(learning: FederationSettings) -> Sequence[str]:
    """Return the parts of the version sent that reach a client rounded."""
    if learning.keeps_as_sent or learning.payload.precision == "float32":
        return ()
    return learning.exchange(1).receives


@dataclass
class JobBook:
    """Jobs from being given out to being merged or withdrawn, and what came of them.

    At a merge that needs a job of no cohort yet, all jobs under way that have none are
    put into cohorts of at most ``cohort_size``, in (client, start index) order. What a
    store holds or how many workers there are does not matter.
    """

    cohort_size: int
    pending: dict[str, Job] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    _cohort_of: dict[str, Cohort] = field(default_factory=dict)

    def add(self, ticket: str, job: Job) -> None:
        """Note a job that was given out."""
        if ticket in self.pending:
            raise ValueError(f"{job} is under way already")
        self.pending[ticket] = job

    def remove(self, tickets: Iterable[str]) -> None:
        """Forget jobs that were merged or will never arrive."""
        for ticket in tickets:
            del self.pending[ticket]
            self.outcomes.pop(ticket, None)
            self._cohort_of.pop(ticket, None)

    def ordered(self, tickets: Iterable[str]) -> list[str]:
        """Return tickets in (client, start index) order."""
        return sorted(tickets, key=self._place)

    def cohorts(self, tickets: Sequence[str]) -> list[Cohort]:
        """Return the cohorts of some jobs, each once, in the order of the tickets."""
        if any(ticket not in self._cohort_of for ticket in tickets):
            self._assign()
        found = [self._cohort_of[ticket] for ticket in tickets]
        return list({id(cohort): cohort for cohort in found}.values())

    def is_trained(self, cohort: Cohort) -> bool:
        """Return whether it is known what came of a cohort under way."""
        return any(ticket in self.outcomes for ticket in cohort)

    def note(self, cohort: Cohort, outcomes: Iterable[Outcome]) -> None:
        """Note what came of a cohort's jobs, of those that are under way."""
        for ticket, outcome in zip(cohort, outcomes, strict=True):
            if ticket in self.pending:
                self.outcomes[ticket] = outcome

    def round_id(self, tickets: Iterable[str]) -> int:
        """Return the round of a merge of these jobs: the latest that one is of."""
        return max((self.pending[one].round_id for one in tickets), default=0)

    def turn(self, tickets: Iterable[str]) -> int:
        """Return the round within its phase of a merge of these jobs: the latest that
        one is of."""
        return max((self.pending[one].turn for one in tickets), default=0)

    def versions(self) -> set[str]:
        """Return the versions that are still needed, by a start or by a cohort."""
        needed = {job.version for job in self.pending.values()}
        for cohort in self._cohort_of.values():
            if not self.is_trained(cohort):
                needed |= {job.version for job in cohort.values()}
        return needed

    def states(self) -> set[str]:
        """Return the jobs whose leftovers a job under way starts with."""
        jobs = [*self.pending.values()]
        for cohort in self._cohort_of.values():
            jobs += cohort.values()
        return {job.state for job in jobs if job.state is not None}

    def _assign(self) -> None:
        free = self.ordered(t for t in self.pending if t not in self._cohort_of)
        for first in range(0, len(free), self.cohort_size):
            tickets = free[first : first + self.cohort_size]
            cohort = {ticket: self.pending[ticket] for ticket in tickets}
            self._cohort_of.update(dict.fromkeys(tickets, cohort))

    def _place(self, ticket: str) -> tuple[int, int]:
        job = self.pending[ticket]
        return job.client_id, job.start_index
