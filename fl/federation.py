"""The learning side of a run: jobs are noted when given out, trained when merged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from fl import recipe
from fl.adapters import Adapter, LoraSettings
from fl.aggregation import FloraNA
from fl.backbones import Backbone, SmallViT
from fl.evaluation import Metrics, evaluate
from fl.merging import Aggregation, Component, MergeRow, combined, merge_adapters
from fl.partition import DirichletByLabel, Partition
from fl.payload import Payload
from fl.streams import stream
from fl.tasks import Digits, Task
from fl.training import Diverged, LocalJob, TrainingSettings, train

if TYPE_CHECKING:
    from fl.resident import ResidentModel


@dataclass(frozen=True, kw_only=True, slots=True)
class Learning:
    """What is learned, from what, and how: every choice that is not the network's."""

    task: Task = field(default_factory=Digits)
    backbone: Backbone = field(default_factory=SmallViT)
    partition: Partition = field(default_factory=DirichletByLabel)
    lora: LoraSettings = field(default_factory=LoraSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    aggregation: Aggregation = field(default_factory=FloraNA)
    payload: Payload = field(default_factory=Payload)


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One participation as the network knows it."""

    client_id: int
    start_index: int  # how many times this client has started before
    round_id: int
    version: str  # the adapter that the client is sent
    steps: int
    rank: int


class Arrival(NamedTuple):
    """A job whose upload reached the server, and its unbiased weight."""

    job: str
    weight: float


class Merged(NamedTuple):
    """The version after a merge, and one row per adapted matrix."""

    version: str
    layers: tuple[MergeRow, ...]


class Federation:
    """Clients' data, the versions of the global adapter, and the jobs under way.

    Versions and jobs are named by recipe, so neither making a federation nor
    submitting to it imports torch. A version is kept while it is the newest, or while
    a job that started from it is neither merged nor withdrawn: submit when the client
    is given the version, before its download.
    """

    def __init__(
        self,
        learning: Learning,
        *,
        num_clients: int,
        seed: int,
        device: str = "cpu",
        precision: Literal["float32", "float64"] = "float32",
    ) -> None:
        """Divide the data; the model is made when the first result is needed."""
        self.learning = learning
        self.seed = seed
        self._device = device
        self._precision = precision
        self._shares = learning.partition.split(
            learning.task.labels("train"), num_clients, stream(seed, "partition")
        )
        self.num_samples = tuple(len(share) for share in self._shares)
        self.initial_version = recipe.initial_version(
            base=learning.backbone.digest(learning.task), lora=learning.lora, seed=seed
        )
        self._adapters: dict[str, Adapter] = {}
        self._jobs: dict[str, Job] = {}
        self._metrics: dict[str, Metrics] = {}
        self._model: ResidentModel | None = None

    def submit(self, job: Job) -> str:
        """Note a job and return its digest; nothing is trained yet."""
        if job.rank != self.learning.lora.r:
            raise ValueError(
                f"rank must be the adapter's {self.learning.lora.r}, got {job.rank}"
            )
        if job.steps < 1:
            raise ValueError(f"steps must be at least 1, got {job.steps}")
        name = self._recipe(job).digest
        if name in self._jobs:
            raise ValueError(f"{job} is under way already")
        self._jobs[name] = job
        return name

    def withdraw(self, job: str) -> None:
        """Forget a job that will never arrive; it is not trained."""
        del self._jobs[job]

    def merge(self, version: str, arrivals: Sequence[Arrival]) -> Merged:
        """Train the jobs that arrived and merge them into ``version``, the newest.

        Raises ``Diverged`` where a client's training does; all is then as before.
        """
        if not arrivals:
            return Merged(version, ())
        ordered = sorted(arrivals, key=self._place)
        method = self.learning.aggregation
        name = recipe.merged_version(method, version, ordered)
        adapter, rows = merge_adapters(method, self._components(version, ordered))
        for arrival in ordered:
            del self._jobs[arrival.job]
        self._keep(name, adapter)
        return Merged(name, rows)

    def evaluate(self, version: str) -> Metrics:
        """Return the metrics of a kept version on the test split, computed once."""
        if version not in self._metrics:
            resident = self._resident()
            resident.write(self._adapter(version))
            self._metrics[version] = evaluate(resident, self.learning.task, "test")
        return self._metrics[version]

    def export(self, version: str, folder: Path) -> None:
        """Write a kept version as a PEFT checkpoint, its base model in ``base/``."""
        from fl.checkpoint import write_base, write_checkpoint

        write_checkpoint(folder, self._adapter(version), self.learning.lora)
        write_base(folder, self.learning.backbone.load(self.learning.task))

    def adapter_digest(self, version: str) -> str:
        """Return the digest of a kept version's numbers."""
        return self._adapter(version).digest

    def _recipe(self, job: Job) -> recipe.JobRecipe:
        return recipe.JobRecipe(
            version=job.version,
            client_id=job.client_id,
            start_index=job.start_index,
            round_id=job.round_id,
            rank=job.rank,
            steps=job.steps,
            task=self.learning.task.digest,
            samples=recipe.samples_digest(self._shares[job.client_id]),
            training=recipe.settings(self.learning.training),
            payload=recipe.settings(self.learning.payload),
            seed=self.seed,
        )

    def _place(self, arrival: Arrival) -> tuple[int, int]:
        job = self._jobs[arrival.job]
        return job.client_id, job.start_index

    def _resident(self) -> ResidentModel:
        """Return the model, made at first need together with the initial adapter."""
        if self._model is None:
            import torch

            from fl.resident import ResidentModel

            torch.set_num_threads(1)  # more depend on the machine and on who else runs
            self._model = ResidentModel(
                self.learning.backbone.load(self.learning.task),
                self.learning.lora,
                seed=self.seed,
                precision=self._precision,
                device=self._device,
            )
            self._adapters[self.initial_version] = self._model.read()
        return self._model

    def _adapter(self, version: str) -> Adapter:
        self._resident()
        return self._adapters[version]

    def _keep(self, newest: str, adapter: Adapter) -> None:
        """Remember the newest version, and forget those that no job started from."""
        needed = {job.version for job in self._jobs.values()}
        self._adapters = {v: a for v, a in self._adapters.items() if v in needed}
        self._adapters[newest] = adapter

    def _components(self, version: str, arrivals: Sequence[Arrival]) -> list[Component]:
        """Return the newest version with weight one, each client with its weight, and
        what it started from with minus that weight."""
        received = self._train([self._jobs[arrival.job] for arrival in arrivals])
        weights = [arrival.weight for arrival in arrivals]
        starts = [self._sent(self._jobs[arrival.job].version) for arrival in arrivals]
        return combined(
            [
                Component(self._adapter(version), 1.0),
                *(Component(a, -w) for a, w in zip(starts, weights, strict=True)),
                *(Component(a, w) for a, w in zip(received, weights, strict=True)),
            ]
        )

    def _sent(self, version: str) -> Adapter:
        return self.learning.payload.delivered(self._adapter(version))

    def _train(self, jobs: Sequence[Job]) -> list[Adapter]:
        """Return what the server receives from each job, in the order given."""
        outcomes = train(
            self._resident(),
            self.learning.task,
            [
                LocalJob(
                    client_id=job.client_id,
                    start_index=job.start_index,
                    steps=job.steps,
                    start=self._sent(job.version),
                    samples=self._shares[job.client_id],
                )
                for job in jobs
            ],
            settings=self.learning.training,
            seed=self.seed,
        )
        received = []
        for outcome in outcomes:
            if isinstance(outcome, Diverged):
                raise outcome
            received.append(self.learning.payload.delivered(outcome.adapter))
        return received
