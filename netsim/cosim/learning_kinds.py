"""The kinds of learning that a scenario may ask for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol

from pydantic import Field, model_validator

from fl.aggregation import (
    AGGREGATIONS,
    COMPRESSIONS,
    SERVER_OPTIMISERS,
    Compression,
    FloraNA,
    Method,
    PlainServer,
    ServerOptimiser,
)
from fl.backbones import BACKBONES, Backbone, SmallViT
from fl.costs import (
    ModelCosts,
    TimingAs,
    count_costs,
    count_timing,
    known_costs,
    known_timing,
)
from fl.costs.timing import with_modules_of_lora
from fl.federation.warm_start import StartFolder, require_settings, require_sizes
from fl.local import LOCAL_TRAININGS, Demands, LocalTraining, Plain
from fl.memory.recipe import settings
from fl.memory.store import Store
from fl.model.adapters import LoraSettings
from fl.model.device import DeviceName, resolved
from fl.model.evaluation_settings import EvaluationSettings
from fl.model.payload import PartName, Payload
from fl.partition import PARTITIONS, DirichletByLabel, Partition, divide
from fl.partition.partition import Indices
from fl.settings.conflicts import conflicts
from fl.settings.federation import FederationSettings, LowRank
from fl.settings.local_training import OnDivergence, TrainingSettings
from fl.streams import stream
from fl.tasks import TASKS, Digits, Source, require_splits
from netsim.core.quantities import Bits, Bytes, Flop
from netsim.cosim import answers
from netsim.cosim.flower import FlowerLearning
from netsim.cosim.input_errors import as_input_error, failures_as_input_errors
from netsim.cosim.proxy import ProxyLearning
from netsim.cosim.workers import ALONE, Workers
from netsim.errors import Refusal
from netsim.learner.evaluation_schedule import EvaluationSchedule
from netsim.learner.learner import Learner
from netsim.learner.no_learning import MAX_SAMPLES, NoLearning
from netsim.runs.manifest import require_as_left
from netsim.scenario import OneOf, Record
from netsim.scenario.each import OneOrEach, is_listed, wrong_count
from netsim.scenario.traits import Declaring, Trait, Traits

if TYPE_CHECKING:
    from netsim.cosim.learner import CostsByPart, FederatedLearner

TRAINING = ("peft", "fl.federation.federation")  # what who trains imports


class Learning(Declaring, Protocol):
    """How a run learns."""

    @property
    def federated(self) -> LoraLearning | None:
        """Return the settings of what is trained; nothing where nothing is."""

    def refusals(self, num_clients: int) -> Iterator[Refusal]:
        """Yield its settings that cannot be, for this many clients."""

    def learner(
        self, num_clients: int, seed: int, *, reuse: bool, workers: Workers = ALONE
    ) -> Learner:
        """Return the learner of one run. It trains with these ``workers`` and, with
        ``reuse``, takes finished learning from the store."""

    def known_learner(
        self, num_clients: int, seed: int, *, may_count: bool
    ) -> Learner | None:
        """Return a learner that knows bits and FLOP; None where they have to be counted
        on the model and ``may_count`` is false."""

    def timing_model(self) -> dict[str, str]:
        """Return the model that gives the time and the one that gives the accuracy."""


class LearningOff(Record):
    """Nothing is trained: sizes and work are the same for all clients, or listed for
    each.

    A size or work of zero takes no time, because it is written here. Other work takes a
    device's fixed time for each of the steps too. A listed download is each client's
    own, of which a broadcast carries nothing.
    """

    federated: ClassVar[None] = None
    kind: Literal["none"] = "none"
    download_bits: OneOrEach[Annotated[Bits, Field(ge=0)]]
    upload_bits: OneOrEach[Annotated[Bits, Field(ge=0)]]
    compute_flop: OneOrEach[Annotated[Flop, Field(ge=0)]]
    local_steps: int = Field(default=1, ge=1)
    memory_bytes: Annotated[Bytes, Field(ge=0)] = 0
    samples_per_client: int = Field(default=1, ge=1, le=MAX_SAMPLES)

    @property
    def traits(self) -> Traits:
        found: dict[Trait, str] = {"trains-nothing": ""}
        for key, value in self._sizes().items():
            if is_listed(value):
                found["differs-by-client"] = key
        if is_listed(self.download_bits):
            found["lists-downloads"] = "download"
        return found

    def refusals(self, num_clients: int) -> Iterator[Refusal]:
        for key, value in self._sizes().items():
            if text := wrong_count(value, num_clients):
                yield (key,), text

    def _sizes(self) -> dict[str, object]:
        return {
            "download": self.download_bits,
            "upload": self.upload_bits,
            "compute": self.compute_flop,
        }

    def learner(
        self, num_clients: int, seed: int, *, reuse: bool, workers: Workers = ALONE
    ) -> Learner:
        return NoLearning(
            num_clients=num_clients,
            download_bits=self.download_bits,
            upload_bits=self.upload_bits,
            compute_flop=self.compute_flop,
            local_steps=self.local_steps,
            memory_bytes=self.memory_bytes,
            samples_per_client=self.samples_per_client,
        )

    def known_learner(
        self, num_clients: int, seed: int, *, may_count: bool
    ) -> Learner | None:
        return self.learner(num_clients, seed, reuse=False)

    def timing_model(self) -> dict[str, str]:
        return {}


class Evaluation(EvaluationSettings, EvaluationSchedule):
    """When evaluations are due on the network's clock, and what each measures."""

    def measurement(self) -> EvaluationSettings:
        """Return the part that decides the numbers."""
        names = EvaluationSettings.model_fields
        return EvaluationSettings(**{name: getattr(self, name) for name in names})


Trained = Annotated[Source, OneOf(TASKS, answers=answers.TASK, seam="task")]
BasedOn = Annotated[
    Backbone, OneOf(BACKBONES, answers=answers.BACKBONE, seam="backbone")
]
Divided = Annotated[
    Partition, OneOf(PARTITIONS, answers=answers.PARTITION, seam="partition")
]
SteppedBy = Annotated[
    ServerOptimiser,
    OneOf(SERVER_OPTIMISERS, answers=answers.OPTIMISER, seam="server_optimiser"),
]
CompressedBy = Annotated[
    Compression, OneOf(COMPRESSIONS, answers=answers.COMPRESSION, seam="compression")
]
TrainedBy = Annotated[
    LocalTraining,
    OneOf(LOCAL_TRAININGS, answers=answers.LOCAL, seam="local_training"),
]
Merging = Annotated[
    Method, OneOf(AGGREGATIONS, answers=answers.METHOD, seam="aggregation")
]


def _of_demands(demands: Demands) -> Traits:
    """Return the traits that follow from what local training needs."""
    found: dict[Trait, bool] = {
        "keeps-rows": demands.keeps,
        "shares-rows": demands.shares is not None,
        "hides-losses": demands.hides_losses,
        "trains-one-rank": demands.one_rank or demands.is_alone,
    }
    return {trait: "local_training" for trait, holds in found.items() if holds}


class LoraLearning(Record):
    """Real LoRA fine-tuning of a real model on real data."""

    kind: Literal["lora"] = "lora"
    task: Trained = Digits()
    backbone: BasedOn = SmallViT()
    partition: Divided = DirichletByLabel()
    lora: LoraSettings = LoraSettings()
    training: TrainingSettings = TrainingSettings()
    local_training: TrainedBy = Plain()
    aggregation: Merging = FloraNA()
    payload: Payload = Payload()
    evaluation: Evaluation = Evaluation()
    low_rank: LowRank | None = None  # of small clients; by default the aggregation's
    server_optimiser: SteppedBy = PlainServer()
    compression: CompressedBy | None = None  # of uploads
    secure_aggregation: bool = False  # the server learns weighted sums of uploads only
    on_divergence: OnDivergence = "drop"  # numbers not finite: left out, or the end
    device: DeviceName = "auto"  # where clients train: auto, cpu, cuda, cuda:1
    cohort_size: int = Field(default=16, ge=1)
    timing_as: TimingAs | None = None  # the model that gives the time, if another one
    start: StartFolder | None = None  # a PEFT adapter, or a run, whose numbers go first

    @model_validator(mode="before")
    @classmethod
    def _takes_modules_of_lora(cls, fields: Any) -> Any:
        return with_modules_of_lora(fields, "timing_as")

    @property
    def federated(self) -> LoraLearning:
        return self

    def shares(self, num_clients: int, seed: int) -> list[Indices]:
        """Return for every client the training samples that it holds."""
        return divide(self.partition, self.task, num_clients, stream(seed, "partition"))

    @property
    def traits(self) -> Traits:
        clients, lora = self.evaluation.clients, self.lora
        keeps_errors = self.compression is not None and self.compression.has_memory
        is_sketched = self.settings.small_clients == "sketched"
        # a task of a user's own may read files for its labels: asked where it matters
        has_no_labels = clients is not None and not self.task.num_labels
        is_plain = not lora.use_dora and lora.peft_type == "lora"
        found: dict[Trait, tuple[bool, str]] = {
            "learns": (True, ""),
            "steps-at-server": (
                self.server_optimiser != PlainServer(),
                "server_optimiser",
            ),
            "keeps-state": (self.settings.keeps_state, ""),
            "keeps-errors": (keeps_errors, "compression"),
            "keeps-sketched-errors": (keeps_errors and is_sketched, "compression"),
            "examines-clients": (clients is not None, "evaluation.clients"),
            "has-no-labels": (has_no_labels, "task"),
            "ends-near-target": (self.evaluation.near is not None, "evaluation.near"),
            "measures-test-only": (self.evaluation.validation is None, ""),
            "looks-by-clock": (self.evaluation.at_s is not None, "evaluation.at"),
            "is-not-plain-lora": (not is_plain, "lora"),
        }
        own = {trait: key for trait, (holds, key) in found.items() if holds}
        return {**own, **_of_demands(self.local_training.demands)}

    def refusals(self, num_clients: int) -> Iterator[Refusal]:
        yield from conflicts(self.settings)
        if self.start is not None:
            try:
                require_settings(Path(self.start), self.lora)
            except ValueError as error:
                yield ("start",), str(error)
        clients = self.evaluation.clients
        highest = 0 if clients is None else max(clients.ids or (0,))
        if highest >= num_clients:
            text = f"must be from 0 to {num_clients - 1}, got {highest}"
            yield ("evaluation", "clients", "ids"), text

    @property
    def settings(self) -> FederationSettings:
        """Return what is the federation's own: all that the network does not decide."""
        own = {one.name: getattr(self, one.name) for one in fields(FederationSettings)}
        return FederationSettings(**own | {"evaluation": self.evaluation.measurement()})

    def learner(
        self, num_clients: int, seed: int, *, reuse: bool, workers: Workers = ALONE
    ) -> FederatedLearner:
        with as_input_error("learning.task"):
            require_splits(self.task)
        self._require_start(may_count=True)
        store = Store() if reuse else None
        return self._learner(num_clients, seed, store=store, workers=workers)

    def known_learner(
        self, num_clients: int, seed: int, *, may_count: bool
    ) -> Learner | None:
        with as_input_error("learning.task"):
            require_splits(self.task)
        with as_input_error("learning"):
            costs = self._costs(may_count=False)
        if costs is None and not may_count:
            return None
        self._require_start(may_count=may_count)
        return self._learner(num_clients, seed)

    def _learner(
        self,
        num_clients: int,
        seed: int,
        *,
        store: Store | None = None,
        workers: Workers = ALONE,
    ) -> FederatedLearner:
        from fl.federation.federation import Federation  # imports all of training
        from netsim.cosim.learner import FederatedLearner

        with as_input_error("learning.device"):
            device = resolved(self.device)
        with as_input_error("learning"):
            federation = Federation(
                self.settings,
                num_clients=num_clients,
                seed=seed,
                store=store,
                device=device,
                executor=partial(workers.executor, preload=TRAINING),
            )
            with failures_as_input_errors():
                costs = self._costs(may_count=True)
        assert costs is not None
        return FederatedLearner(federation, costs, self.evaluation, self.timing_as)

    def timing_model(self) -> dict[str, str]:
        learned = _backbone_name(self.backbone)
        timed = learned
        if self.timing_as is not None:
            timed = self.timing_as.describe(self.lora)
        return {"time": timed, "accuracy": learned}

    def _require_start(self, *, may_count: bool) -> None:
        """Refuse a start that is not what its own run left, or of other sizes than the
        model's, where these are known."""
        if self.start is None:
            return
        require_as_left(Path(self.start))
        with as_input_error("learning.start"):
            trains = self.settings.exchange(1).trains
            costs = self._trained_costs(trains, may_count=may_count)
            if costs is not None:
                require_sizes(Path(self.start), costs, self.lora)

    def _costs(self, *, may_count: bool) -> CostsByPart | None:
        """Return the costs of the model that gives the time, by the parts that the
        aggregation trains; None where they are not known."""
        found: dict[tuple[PartName, ...], ModelCosts] = {}
        for turn in (1, 2):
            trains = self.settings.exchange(turn).trains
            costs = found.get(trains) or self._costs_of(trains, may_count=may_count)
            if costs is None:
                return None
            found[trains] = costs
        return found

    def _costs_of(
        self, trains: tuple[PartName, ...], *, may_count: bool
    ) -> ModelCosts | None:
        if self.timing_as is None:
            return self._trained_costs(trains, may_count=may_count)
        find = count_timing if may_count else known_timing
        return find(self.timing_as, self.lora, self.training, trains)

    def _trained_costs(
        self, trains: tuple[PartName, ...], *, may_count: bool
    ) -> ModelCosts | None:
        find = count_costs if may_count else known_costs
        return find(
            self.task,
            self.backbone,
            lora=self.lora,
            training=self.training,
            trains=trains,
        )


def _backbone_name(backbone: Backbone) -> str:
    """Return what a person calls a base model: its kind, family and folder."""
    values = settings(backbone)
    assert isinstance(values, dict)
    names = ("kind", "model_type", "path")
    return " ".join(str(values[name]) for name in names if name in values)


LEARNINGS = {
    "flower": FlowerLearning,
    "lora": LoraLearning,
    "none": LearningOff,
    "proxy": ProxyLearning,
}
