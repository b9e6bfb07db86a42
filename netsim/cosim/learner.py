"""Real learning as the network sees it: ids, bits and digests cross, no more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from fl.aggregation import VersionRanks
from fl.contract import Arrival, Branch, Job, Merged, Score, Work
from fl.costs import ModelCosts, TimingAs
from fl.federation.federation import Federation
from fl.federation.jobs import rank_of
from fl.federation.merging import Component
from fl.federation.traffic import Journal, Traffic
from fl.federation.versions import Version
from fl.model.payload import PartName
from fl.model.sketch import index_bits
from netsim.cosim.input_errors import failures_as_input_errors
from netsim.learner.evaluation_schedule import EvaluationSchedule

# by the parts that are trained; some merges change them from round to round
CostsByPart: TypeAlias = Mapping[tuple[PartName, ...], ModelCosts]


class FederatedLearner:
    """A federation, and what its messages and its training cost on a model."""

    def __init__(
        self,
        federation: Federation,
        costs: CostsByPart,
        schedule: EvaluationSchedule,
        timing_as: TimingAs | None = None,
    ) -> None:
        self._federation = federation
        self._learning = learning = federation.learning
        self._costs = costs
        self._sizes = next(iter(costs.values()))
        self._timing = timing_as
        spends = learning.local_training.demands.spent is not None
        told = {"updates": True} if spends else {}
        self.schedule = schedule.model_copy(update=told)
        self.rank = learning.lora.r
        traffic = Traffic(
            method=learning.aggregation,
            shapes=self._sizes.adapted,
            rest=self._sizes.rest,
            payload=learning.payload,
            rank=self._timed(self.rank),
            compression=learning.compression,
            is_truncated=learning.small_clients == "truncated",
            shares=learning.local_training.demands.shares is not None,
        )
        self._journal = Journal(traffic, federation.initial_version)

    @property
    def initial_version(self) -> str:
        return self._federation.initial_version

    @property
    def num_samples(self) -> Sequence[int]:
        return self._federation.num_samples

    @property
    def steps_trained(self) -> int:
        return self._federation.steps_trained

    @property
    def steps_reused(self) -> int:
        return self._federation.steps_reused

    def memory_at(self, rank: int | None) -> int:
        assert rank is not None, "real learning has a rank"
        timed, training = self._timed(rank), self._learning.training
        return max(
            costs.training_memory_bytes(rank=timed, training=training)
            for costs in self._costs.values()
        )

    def bits_down(self, job: Job, have: str | None) -> tuple[int, int]:
        rank, whole = self._timed(rank_of(job)), self._timed(self.rank)
        common = self._journal.bits_down(job.version, have, rank)
        is_sketched = self._learning.small_clients == "sketched"
        return common, index_bits(rank, whole) if is_sketched else 0

    def bits_up(self, job: Job) -> int:
        rank = self._timed(rank_of(job))
        return self._journal.traffic.bits_up(rank, max(0, job.turn - 1))

    def work(self, job: Job) -> Work:
        rank = self._timed(rank_of(job))
        costs = self._costs[self._learning.exchange(job.turn).trains]
        return costs.training_work(rank=rank, training=self._learning.training)

    def submit(self, job: Job) -> str:
        return self._federation.submit(job)

    def withdraw(self, ticket: str) -> None:
        self._federation.withdraw(ticket)

    def merge(
        self, version: str, arrivals: Sequence[Arrival], examined: Sequence[str] = ()
    ) -> Merged:
        turn = self._federation.turn(one.ticket for one in arrivals)
        with failures_as_input_errors():
            merged = self._federation.merge(version, arrivals, examined)
        self._note(merged.version, version, turn)
        return merged

    def hold(self, versions: Sequence[str]) -> None:
        self._federation.hold(versions)

    def join(
        self, version: str, branches: Sequence[Branch], *, round_id: int
    ) -> Merged:
        with failures_as_input_errors():
            merged = self._federation.join(version, branches, round_id=round_id)
        self._note(merged.version, version, round_id)
        return merged

    def evaluate(self, version: str) -> Sequence[Score]:
        with failures_as_input_errors():
            splits = self._federation.learning.evaluation.splits
            return [self._federation.evaluate(version, split) for split in splits]

    def export(self, version: str, folder: Path, *, with_base: bool = False) -> str:
        with failures_as_input_errors():
            self._federation.export(version, folder, with_base=with_base)
        return self._federation.adapter_digest(version)

    def observe_merges(
        self, observe: Callable[[Sequence[Component], Version, int], None]
    ) -> None:
        """Call ``observe`` with the components of every merge, the version before it
        and the round's number within its phase."""
        self._federation.observe = observe

    def measured(self, model: Version) -> Score:
        """Return how good any model is on the test split."""
        return self._federation.measured(model)

    def close(self) -> None:
        self._federation.close()

    def recall(self, version: str, parent: str, turn: int) -> None:
        """Note a version that was merged before, in a round of its phase, and whose
        matrices have the adapter's rank."""
        whole = VersionRanks(self._timed(self.rank), 0)
        ranks = [whole] * len(self._journal.traffic.shapes)
        self._journal.note(version, parent, max(0, turn - 1), ranks)

    def _note(self, version: str, parent: str, turn: int) -> None:
        """Note of a new version what its downloads depend on."""
        if version != parent:
            ranks = self._ranks(self._federation.ranks(version))
            self._journal.note(version, parent, max(0, turn - 1), ranks)

    def _ranks(self, made: Sequence[VersionRanks]) -> Sequence[VersionRanks]:
        """Return the ranks of a version's matrices in the model that gives the time: of
        another one each has the mean of those that were merged, rounded up."""
        if self._timing is None:
            return made
        whole = self._timed(self.rank)
        pair, fold = (
            -(-whole * sum(ranks) // (self.rank * len(made)))
            for ranks in zip(*made, strict=True)
        )
        return [VersionRanks(pair, fold)] * len(self._sizes.adapted)

    def _timed(self, rank: int) -> int:
        """Return the rank at which the model that gives the time is counted."""
        if self._timing is None:
            return rank
        return self._timing.rank_of(rank, self._learning.lora)
