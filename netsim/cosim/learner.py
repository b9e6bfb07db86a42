"""The learning half behind the network's question list: ids and digests cross, no more.

The one class that holds a ``fl`` object for ``netsim``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from fl.executor import WorkerDied
from fl.facts import Facts, count_facts, count_timing
from fl.federation import Arrival as Delivered
from fl.federation import Federation
from fl.jobs import Job as Training
from fl.learning import Learning
from fl.sketch import index_bits
from fl.store import Store
from fl.training import Diverged
from netsim.errors import InputError
from netsim.protocol.learner import Arrival, Job, LayerError, Merged, Score

if TYPE_CHECKING:
    from netsim.cosim.scenario import LoraLearning


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
        self._learning = _learning(config)
        with as_input_error("learning"):
            self._federation = Federation(
                self._learning,
                num_clients=num_clients,
                seed=seed,
                store=Store() if reuse else None,
                workers=workers,
            )
            self._facts = facts if facts is not None else _counted(config)
        self.rank = config.lora.r
        self._timing, self._lora = config.timing_as, config.lora
        self.evaluate_every = config.evaluation.every
        self._steps = config.training.local_steps

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
        return self._bits(self.rank), index_bits(
            self._timed(_rank(job)), self._timed(self.rank)
        )

    def bits_up(self, job: Job) -> int:
        return self._bits(_rank(job))

    def flop(self, job: Job) -> int:
        return self._facts.training_flop(
            rank=self._timed(_rank(job)), steps=self._steps
        )

    def submit(self, job: Job) -> str:
        return self._federation.submit(
            Training(
                client_id=job.client_id,
                start_index=job.start_index,
                round_id=job.round_id,
                version=job.version,
                steps=self._steps,
                rank=_rank(job),
            )
        )

    def withdraw(self, ticket: str) -> None:
        self._federation.withdraw(ticket)

    def merge(self, version: str, arrivals: Sequence[Arrival]) -> Merged:
        delivered = [Delivered(arrival.ticket, arrival.weight) for arrival in arrivals]
        try:
            merged = self._federation.merge(version, delivered)
        except Diverged as error:
            raise InputError(f"learning.training: {error}") from error
        except WorkerDied as error:
            raise InputError(f"workers: {error}") from error
        layers = tuple(LayerError(**asdict(row)) for row in merged.layers)
        return Merged(merged.version, layers, merged.norms2)

    def evaluate(self, version: str) -> Sequence[Score]:
        metrics = self._federation.evaluate(version)
        return (
            Score(
                metrics.split,
                metrics.num_samples,
                metrics.loss,
                metrics.accuracy,
                perplexity=metrics.perplexity,
                exact_match=metrics.exact_match,
            ),
        )

    def export(self, version: str, folder: Path) -> str:
        self._federation.export(version, folder)
        return self._federation.adapter_digest(version)

    def close(self) -> None:
        self._federation.close()

    def _bits(self, rank: int) -> int:
        return self._facts.payload_bits(self._learning.payload, self._timed(rank))

    def _timed(self, rank: int) -> int:
        """Return the rank at which the model that gives the time is counted."""
        if self._timing is None:
            return rank
        return self._timing.rank_of(rank, self._lora)


def _rank(job: Job) -> int:
    assert job.rank is not None, "real learning has a rank"
    return job.rank


def _learning(config: LoraLearning) -> Learning:
    return Learning(
        task=config.task,
        backbone=config.backbone,
        partition=config.partition,
        lora=config.lora,
        training=config.training,
        aggregation=config.aggregation,
        payload=config.payload,
        evaluation=config.evaluation,
        cohort_size=config.cohort_size,
    )


def _counted(config: LoraLearning) -> Facts:
    if config.timing_as is not None:
        return count_timing(config.timing_as, config.lora, config.training)
    return count_facts(
        config.task, config.backbone, lora=config.lora, training=config.training
    )


@contextmanager
def as_input_error(path: str) -> Iterator[None]:
    """Say where in the scenario a learning setting is that cannot work."""
    try:
        yield
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
