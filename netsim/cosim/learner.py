"""The learning half behind the network's question list: ids and digests cross, no more.

The one class that holds a ``fl`` object for ``netsim``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fl.aggregation import VersionRanks
from fl.contract import Arrival, Branch, Job, Merged, Score
from fl.costs import Facts, count_facts, count_timing
from fl.federation.divergence import MergeDiverged
from fl.federation.federation import Federation
from fl.federation.jobs import rank_of
from fl.federation.merging import Component
from fl.federation.traffic import Journal, Traffic
from fl.federation.versions import Version
from fl.federation.warm_start import DoesNotFit
from fl.memory.store import Store
from fl.model.device import Unusable, is_out_of_memory, resolved
from fl.model.sketch import index_bits
from fl.training.local_training import Diverged
from fl.workers.executor import WorkerDied
from netsim.errors import InputError

if TYPE_CHECKING:
    from netsim.cosim.learning_kinds import LoraLearning


class FederatedLearner:
    """Real federated LoRA; counts on the model what no earlier run has counted."""

    def __init__(
        self,
        config: LoraLearning,
        num_clients: int,
        seed: int,
        *,
        facts: Facts | None = None,
        reuse: bool = True,
        workers: int = 1,
    ) -> None:
        self._learning = config.told()
        with as_input_error("learning.device"):
            device = resolved(config.device)
        with as_input_error("learning"):
            self._federation = Federation(
                self._learning,
                num_clients=num_clients,
                seed=seed,
                store=Store() if reuse else None,
                device=device,
                workers=workers,
            )
            self._facts = facts if facts is not None else _counted(config)
        self.rank = config.lora.r
        self._timing, self._lora = config.timing_as, config.lora
        self.cadence = config.evaluation
        self._steps = config.training.local_steps
        traffic = Traffic(
            method=config.aggregation,
            facts=self._facts,
            payload=config.payload,
            rank=self._timed(self.rank),
            compression=config.compression,
            is_truncated=config.small_clients == "truncated",
        )
        self._journal = Journal(traffic, self._federation.initial_version)

    @property
    def initial_version(self) -> str:
        return self._federation.initial_version

    @property
    def num_samples(self) -> Sequence[int]:
        return self._federation.num_samples

    @property
    def memory_bytes(self) -> int:
        return self.memory_at(self.rank)

    @property
    def steps_trained(self) -> int:
        return self._federation.steps_trained

    @property
    def steps_reused(self) -> int:
        return self._federation.steps_reused

    def memory_at(self, rank: int | None) -> int:
        assert rank is not None, "real learning has a rank"
        return self._facts.training_memory_bytes(
            rank=self._timed(rank), training=self._learning.training
        )

    def bits_down(self, job: Job, have: str | None) -> tuple[int, int]:
        rank, whole = self._timed(rank_of(job)), self._timed(self.rank)
        common = self._journal.bits_down(job.version, have, rank)
        is_sketched = self._learning.low_rank == "sketched"
        return common, index_bits(rank, whole) if is_sketched else 0

    def bits_up(self, job: Job) -> int:
        rank = self._timed(rank_of(job))
        return self._journal.traffic.bits_up(rank, max(0, job.round_id - 1))

    def flop(self, job: Job) -> int:
        return self._facts.training_flop(
            rank=self._timed(rank_of(job)), steps=self._steps
        )

    def submit(self, job: Job) -> str:
        return self._federation.submit(job)

    def withdraw(self, ticket: str) -> None:
        self._federation.withdraw(ticket)

    def merge(
        self, version: str, arrivals: Sequence[Arrival], examined: Sequence[str] = ()
    ) -> Merged:
        round_id = self._federation.round_id(one.ticket for one in arrivals)
        with told_apart():
            merged = self._federation.merge(version, arrivals, examined)
        self._note(merged.version, version, round_id)
        return merged

    def hold(self, versions: Sequence[str]) -> None:
        self._federation.hold(versions)

    def join(
        self, version: str, branches: Sequence[Branch], *, round_id: int
    ) -> Merged:
        with told_apart():
            merged = self._federation.join(version, branches, round_id=round_id)
        self._note(merged.version, version, round_id)
        return merged

    def evaluate(self, version: str) -> Sequence[Score]:
        with told_apart():
            return (self._federation.evaluate(version),)

    def export(self, version: str, folder: Path) -> str:
        with told_apart():
            self._federation.export(version, folder)
        return self._federation.adapter_digest(version)

    def observe_merges(
        self, observe: Callable[[Sequence[Component], Version], None]
    ) -> None:
        """Be told of every merge's components and of the version before it."""
        self._federation.observe = observe

    def measured(self, model: Version) -> Score:
        """Return how good any model is on the test split."""
        return self._federation.measured(model)

    def close(self) -> None:
        self._federation.close()

    def _note(self, version: str, parent: str, round_id: int) -> None:
        """Note of a new version what its downloads depend on."""
        if version != parent:
            ranks = self._ranks(self._federation.ranks(version))
            self._journal.note(version, parent, max(0, round_id - 1), ranks)

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
        return [VersionRanks(pair, fold)] * len(self._facts.adapted)

    def _timed(self, rank: int) -> int:
        """Return the rank at which the model that gives the time is counted."""
        if self._timing is None:
            return rank
        return self._timing.rank_of(rank, self._lora)


def _counted(config: LoraLearning) -> Facts:
    if config.timing_as is not None:
        return count_timing(config.timing_as, config.lora, config.training)
    return count_facts(
        config.task, config.backbone, lora=config.lora, training=config.training
    )


@contextmanager
def told_apart() -> Iterator[None]:
    """Say which setting it is where learning itself comes to an end."""
    places: dict[type[Exception], str] = {
        Diverged: "learning.training",
        MergeDiverged: "learning.aggregation",
        DoesNotFit: "learning.start",
        Unusable: "learning.device",
        WorkerDied: "workers",
    }
    try:
        yield
    except tuple(places) as error:
        raise InputError(f"{places[type(error)]}: {error}") from error
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise InputError(
            "learning.cohort_size: training needs more memory than there is; lower it, "
            "or learning.training.per_device_train_batch_size, or --workers"
        ) from error


@contextmanager
def as_input_error(path: str) -> Iterator[None]:
    """Say where in the scenario a learning setting is that cannot work."""
    try:
        yield
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
