"""The root of a scenario: everything that one run is told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Protocol

from pydantic import Field, model_validator

from fl.adapters import LoraSettings
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
from fl.conflicts import conflicts
from fl.device import DeviceName
from fl.divergence import OnDivergence
from fl.facts import Facts, TimingAs, count_facts, known_facts, known_timing
from fl.learning import Learning as Settings
from fl.learning import LowRank
from fl.partition import PARTITIONS, DirichletByLabel, Partition
from fl.payload import Payload
from fl.recipe import settings
from fl.start import StartFolder, require_settings, require_sizes
from fl.tasks import TASKS, Digits, Source
from fl.training import TrainingSettings
from netsim.cell import Cell
from netsim.cosim.abilities import refused_demands
from netsim.cosim.edges import refused_edges, refused_learning
from netsim.cosim.evaluation import Evaluation
from netsim.cosim.own_links import refused_links
from netsim.cosim.proxy import ProxyLearning
from netsim.cosim.reach import refused_networks
from netsim.network import Association, Interference, Network
from netsim.policy import RANKS, FullRank, Ranks
from netsim.population import PopulationConfig
from netsim.protocol import POLICIES, SERVERS, NoLearning, Policy, Stop
from netsim.protocol.learner import Learner
from netsim.protocol.stage import ServerStory
from netsim.quantities import Bits, Bytes, Flop
from netsim.scenario import OneOf, Record, load, refusal
from netsim.scenario.each import OneOrEach, wrong_count


class Learning(Protocol):
    """How the learning half of a run comes about."""

    def learner(
        self, num_clients: int, seed: int, *, reuse: bool, workers: int = 1
    ) -> Learner:
        """Return the learner of one run, with ``reuse`` of remembered learning, that
        trains in so many processes."""

    def known_learner(
        self, num_clients: int, seed: int, *, may_count: bool
    ) -> Learner | None:
        """Return a learner that knows bits and FLOP, or nothing where they would have
        to be counted on the model and ``may_count`` forbids it."""

    def timing_model(self) -> dict[str, str]:
        """Return which model gives the time and which the accuracy; none is empty."""


class LearningOff(Record):
    """Nothing is trained: sizes and work are the same for all clients, or listed for
    each.

    A size or work of zero takes no time, because it is written here. A listed download
    is each client's own, of which a broadcast carries nothing.
    """

    kind: Literal["none"] = "none"
    download_bits: OneOrEach[Annotated[Bits, Field(ge=0)]]
    upload_bits: OneOrEach[Annotated[Bits, Field(ge=0)]]
    compute_flop: OneOrEach[Annotated[Flop, Field(ge=0)]]
    memory_bytes: Annotated[Bytes, Field(ge=0)] = 0
    samples_per_client: int = Field(default=1, ge=1)

    @property
    def is_listed(self) -> bool:
        """Return whether clients may differ in size or work."""
        told = (self.download_bits, self.upload_bits, self.compute_flop)
        return any(isinstance(one, tuple) for one in told)

    def learner(
        self, num_clients: int, seed: int, *, reuse: bool, workers: int = 1
    ) -> Learner:
        return NoLearning(
            num_clients=num_clients,
            download_bits=self.download_bits,
            upload_bits=self.upload_bits,
            compute_flop=self.compute_flop,
            memory_bytes=self.memory_bytes,
            samples_per_client=self.samples_per_client,
        )

    def known_learner(
        self, num_clients: int, seed: int, *, may_count: bool
    ) -> Learner | None:
        return self.learner(num_clients, seed, reuse=False)

    def timing_model(self) -> dict[str, str]:
        return {}


class LoraLearning(Record):
    """Real LoRA fine-tuning of a real model on real data."""

    kind: Literal["lora"] = "lora"
    task: Annotated[Source, OneOf(TASKS)] = Digits()
    backbone: Annotated[Backbone, OneOf(BACKBONES)] = SmallViT()
    partition: Annotated[Partition, OneOf(PARTITIONS)] = DirichletByLabel()
    lora: LoraSettings = LoraSettings()
    training: TrainingSettings = TrainingSettings()
    aggregation: Annotated[Method, OneOf(AGGREGATIONS)] = FloraNA()
    payload: Payload = Payload()
    evaluation: Evaluation = Evaluation()
    low_rank: LowRank | None = None  # of small clients; by default the aggregation's
    server_optimiser: Annotated[ServerOptimiser, OneOf(SERVER_OPTIMISERS)] = (
        PlainServer()
    )
    compression: Annotated[Compression, OneOf(COMPRESSIONS)] | None = None  # of uploads
    secure_aggregation: bool = False  # the server learns weighted sums of uploads only
    on_divergence: OnDivergence = "drop"  # numbers not finite: left out, or the end
    device: DeviceName = "auto"  # where clients train: auto, cpu, cuda, cuda:1
    cohort_size: int = Field(default=16, ge=1)
    timing_as: TimingAs | None = None  # the model that gives the time, if another one
    start: StartFolder | None = None  # a PEFT adapter, or a run, whose numbers go first

    @model_validator(mode="after")
    def _starts_from_its_like(self) -> LoraLearning:
        if self.start is not None:
            try:
                require_settings(Path(self.start), self.lora)
            except ValueError as error:
                raise refusal(str(error), None, ("start",), bare=True) from error
        return self

    @model_validator(mode="after")
    def _goes_together(self) -> LoraLearning:
        for path, reason in conflicts(self.told()):
            raise refusal(reason, None, path, bare=True)
        return self

    @property
    def small_clients(self) -> LowRank:
        """Return what clients of smaller rank do."""
        return self.low_rank or self.aggregation.contract.small_clients

    def told(self) -> Settings:
        """Return what the federation is told."""
        return Settings(
            task=self.task,
            backbone=self.backbone,
            partition=self.partition,
            lora=self.lora,
            training=self.training,
            aggregation=self.aggregation,
            payload=self.payload,
            evaluation=self.evaluation.measurement(),
            start=self.start,
            cohort_size=self.cohort_size,
            low_rank=self.small_clients,
            server=self.server_optimiser,
            compression=self.compression,
            needs_secure_aggregation=self.secure_aggregation,
            on_divergence=self.on_divergence,
        )

    def learner(
        self, num_clients: int, seed: int, *, reuse: bool, workers: int = 1
    ) -> Learner:
        from netsim.cosim.learner import FederatedLearner

        self._require_start(may_count=True)
        return FederatedLearner(self, num_clients, seed, reuse=reuse, workers=workers)

    def known_learner(
        self, num_clients: int, seed: int, *, may_count: bool
    ) -> Learner | None:
        from netsim.cosim.learner import as_input_error

        with as_input_error("learning"):
            facts = self._known_facts()
        if facts is None and not may_count:
            return None
        from netsim.cosim.learner import FederatedLearner

        self._require_start(may_count=may_count)
        return FederatedLearner(self, num_clients, seed, facts=facts, reuse=False)

    def timing_model(self) -> dict[str, str]:
        learned = _backbone_name(self.backbone)
        timed = learned
        if self.timing_as is not None:
            timed = self.timing_as.describe(self.lora)
        return {"time": timed, "accuracy": learned}

    def _require_start(self, *, may_count: bool) -> None:
        """Refuse a start of other sizes than the model's, where these are known."""
        if self.start is None:
            return
        from netsim.cosim.learner import as_input_error

        count = count_facts if may_count else known_facts
        with as_input_error("learning.start"):
            facts = count(
                self.task, self.backbone, lora=self.lora, training=self.training
            )
            if facts is not None:
                require_sizes(Path(self.start), facts, self.lora)

    def _known_facts(self) -> Facts | None:
        if self.timing_as is not None:
            return known_timing(self.timing_as, self.lora, self.training)
        return known_facts(
            self.task, self.backbone, lora=self.lora, training=self.training
        )


def _backbone_name(backbone: Backbone) -> str:
    """Return what a person calls a base model: its kind, family and folder."""
    values = settings(backbone)
    assert isinstance(values, dict)
    names = ("kind", "model_type", "path")
    return " ".join(str(values[name]) for name in names if name in values)


LEARNINGS = {"lora": LoraLearning, "none": LearningOff, "proxy": ProxyLearning}
UNTRAINED = (LearningOff, ProxyLearning)  # nothing is scored, and nothing has a rank


class Scenario(Record):
    """One run: a fleet on a network, a server's policy, and what is learned.

    There is one ``cell``, or a list of ``cells``. A client's messages go by the cell of
    the ``strongest`` mean gain, or by the ``nearest``.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    seed: int = Field(default=0, ge=0)
    stop: Stop
    server: Annotated[ServerStory, OneOf(SERVERS)]
    ranks: Annotated[Ranks, OneOf(RANKS)] = FullRank()
    policy: Annotated[Policy, OneOf(POLICIES)] | None = None
    population: PopulationConfig
    cell: Cell | None = None
    cells: Annotated[tuple[Cell, ...], Field(min_length=1)] | None = None
    association: Association = "strongest"
    interference: Interference | None = None
    learning: Annotated[Learning, OneOf(LEARNINGS)]

    @property
    def network(self) -> Network:
        """Return the cells, however many were written."""
        cells = self.cells if self.cell is None else (self.cell,)
        assert cells is not None, "a scenario has cells"
        return Network(cells, self.association, self.interference)

    def single_cell(self, what: str) -> Cell:
        """Return the one cell, for ``what`` knows no more; else ``InputError``."""
        return self.network.single(what)

    def placed_cells(self) -> list[tuple[tuple[str | int, ...], Cell]]:
        """Return each cell and where in the scenario it is written."""
        if self.cell is not None:
            return [(("cell",), self.cell)]
        return [(("cells", n), cell) for n, cell in enumerate(self.network.cells)]

    @model_validator(mode="after")
    def _fits_together(self) -> Scenario:
        if (self.cell is None) == (self.cells is None):
            text = "needs `cell`, or a list of `cells`: exactly one of them"
            raise refusal(text, None, (), bare=True)
        for path, reason in refused_networks(self.network, self.population):
            raise refusal(reason, None, path, bare=True)
        for path, reason in refused_edges(self):
            raise refusal(reason, None, path, bare=True)
        self._lists_each_client()
        if self.server.kind == "buffered":
            self._suits_a_buffer()
        for path, reason in refused_links(self):
            raise refusal(reason, None, path, bare=True)
        self._suits_the_policy()
        if self.stop.target is not None and isinstance(self.learning, UNTRAINED):
            text = "needs learning: nothing is scored without it"
            raise refusal(text, None, ("stop", "target"), bare=True)
        if isinstance(self.learning, LoraLearning):
            self._suits_the_evaluation(self.learning)
        if isinstance(self.learning, UNTRAINED) and self.ranks.kind != "full":
            text = "needs learning: nothing has a rank without it"
            raise refusal(text, None, ("ranks",), bare=True)
        if isinstance(self.learning, LoraLearning):
            if self.server.kind == "hierarchical":
                for path, reason in refused_learning(self.learning):
                    raise refusal(reason, None, path, bare=True)
            for path, reason in refused_demands(self, self.learning):
                raise refusal(reason, None, path, bare=True)
        decides_ranks = self.policy is not None and self.policy.decides_ranks
        has_ranks = decides_ranks or self.ranks.kind != "full"
        if isinstance(self.learning, LoraLearning) and has_ranks:
            lora = self.learning.lora
            if lora.use_dora or lora.peft_type != "lora":
                text = "a sketch needs plain LoRA layers, not DoRA or HiRA"
                place = "policy" if decides_ranks else "ranks"
                raise refusal(text, None, (place,), bare=True)
        return self

    def _lists_each_client(self) -> None:
        """Refuse a list that has not one value for each client."""
        listed: dict[tuple[str, str], object] = {
            ("population", "radio_band"): self.population.radio_band_hz
        }
        if isinstance(self.learning, LearningOff):
            listed["learning", "download"] = self.learning.download_bits
            listed["learning", "upload"] = self.learning.upload_bits
            listed["learning", "compute"] = self.learning.compute_flop
        for path, value in listed.items():
            if text := wrong_count(value, self.population.num_clients):
                raise refusal(text, None, path, bare=True)

    def _suits_the_policy(self) -> None:
        """Refuse what two parts would decide, and what nobody does."""
        policy = self.policy
        has_rounds = self.server.kind in ("deadline", "synchronous")
        sampling = getattr(self.server, "sampling", None)
        if policy is None:
            if has_rounds and sampling is None:
                text = "missing key 'sampling'; only a `policy` could decide it"
                raise refusal(text, None, ("server",), bare=True)
            return
        if len(self.network.cells) > 1:
            text = "a policy plans one band that all clients share; give one `cell`"
            raise refusal(text, None, ("policy",), bare=True)
        if not has_rounds:
            text = (
                f"a {self.server.kind!r} server draws among the idle and has no rounds "
                "that a policy could plan; use 'synchronous' or 'deadline'"
            )
            raise refusal(text, None, ("policy",), bare=True)
        if policy.needs_learning and isinstance(self.learning, UNTRAINED):
            text = "pilots and ranks need learning: nothing is measured without it"
            raise refusal(text, None, ("policy",), bare=True)
        self._decides_nothing_twice(policy, is_sampled=sampling is not None)

    def _decides_nothing_twice(self, policy: Policy, *, is_sampled: bool) -> None:
        if policy.decides_sampling and is_sampled:
            text = "the policy decides who is drawn; leave `sampling` out"
            raise refusal(text, None, ("server", "sampling"), bare=True)
        if not (policy.decides_sampling or is_sampled):
            text = "missing key 'sampling': the policy decides ranks alone"
            raise refusal(text, None, ("server",), bare=True)
        if policy.decides_ranks and self.ranks.kind != "full":
            text = "the policy decides ranks; leave `ranks` out"
            raise refusal(text, None, ("ranks",), bare=True)

    def _suits_the_evaluation(self, learning: LoraLearning) -> None:
        """Refuse evaluations near no target, or of clients that cannot be judged."""
        place = ("learning", "evaluation")
        if learning.evaluation.near is not None and self.stop.target is None:
            text = "needs `stop.target`: its metric comes near its level"
            raise refusal(text, None, (*place, "near"), bare=True)
        clients = learning.evaluation.clients
        if clients is None:
            return
        if not learning.task.num_labels:
            text = (
                "needs a task with labels: a client is judged on its own share of them"
            )
            raise refusal(text, None, (*place, "clients"), bare=True)
        last = self.population.num_clients - 1
        if max(clients.ids or (0,)) > last:
            text = f"must be from 0 to {last}"
            raise refusal(text, max(clients.ids or ()), (*place, "clients", "ids"))

    def _suits_a_buffer(self) -> None:
        for path, cell in self.placed_cells():
            if cell.uplink.sharing.plans_rounds:
                raise refusal(
                    f"{cell.uplink.sharing.kind!r} divides the band once per round "
                    "and a buffered server has none; use 'processor-sharing'",
                    None,
                    (*path, "uplink", "sharing"),
                    bare=True,
                )
            if cell.downlink.mode == "broadcast":
                raise refusal(
                    "a buffered server serves clients one by one; set `mode: unicast`",
                    None,
                    (*path, "downlink", "mode"),
                    bare=True,
                )


def read_scenario(path: Path, overrides: tuple[str, ...] = ()) -> Scenario:
    """Return the scenario of a YAML file, with ``path=value`` overrides applied."""
    return load(path, Scenario, overrides=overrides)
