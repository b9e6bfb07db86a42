"""Learning by proxy: a model that is counted and never trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from fl.costs import ModelCosts, TimingAs, count_timing, known_timing
from fl.costs.timing import with_modules_of_lora
from fl.model.adapters import LoraSettings
from fl.model.payload import Payload
from fl.settings.local_training import TrainingSettings
from netsim.cosim.workers import ALONE, Workers
from netsim.errors import Refusal
from netsim.learner.learner import Learner
from netsim.learner.no_learning import MAX_SAMPLES, NoLearning
from netsim.scenario import Record
from netsim.scenario.traits import Traits


class ProxyLearning(Record):
    """Nothing is trained: bits, FLOP and memory are those of LoRA on a model, counted
    on its shapes without a weight; whole adapters travel, up and down, as under FedIT.

    ``model`` is what ``timing_as`` is elsewhere; the rank is ``lora.r`` unless it says
    another.
    """

    traits: ClassVar[Traits] = {"trains-nothing": ""}
    federated: ClassVar[None] = None
    kind: Literal["proxy"] = "proxy"
    model: TimingAs
    lora: Annotated[LoraSettings, Field(validate_default=True)] = LoraSettings()
    training: TrainingSettings = TrainingSettings()
    payload: Payload = Payload()
    samples_per_client: int = Field(default=1, ge=1, le=MAX_SAMPLES)

    @model_validator(mode="before")
    @classmethod
    def _takes_modules_of_lora(cls, fields: Any) -> Any:
        return with_modules_of_lora(fields, "model")

    @field_validator("lora")
    @classmethod
    def _names_modules_of_model(
        cls, lora: LoraSettings, info: ValidationInfo
    ) -> LoraSettings:
        """Return ``lora`` with the modules that are counted, which are the model's."""
        model: TimingAs | None = info.data.get("model")
        if model is None:
            return lora
        names = ("target_modules", "modules_to_save")
        return lora.model_copy(update={name: getattr(model, name) for name in names})

    def refusals(self, num_clients: int) -> Iterator[Refusal]:
        yield from ()

    def learner(
        self, num_clients: int, seed: int, *, reuse: bool, workers: Workers = ALONE
    ) -> Learner:
        costs = count_timing(self.model, self.lora, self.training)
        return self._learner(num_clients, costs)

    def known_learner(
        self, num_clients: int, seed: int, *, may_count: bool
    ) -> Learner | None:
        costs = known_timing(self.model, self.lora, self.training)
        if costs is None and may_count:
            costs = count_timing(self.model, self.lora, self.training)
        return None if costs is None else self._learner(num_clients, costs)

    def timing_model(self) -> dict[str, str]:
        described = self.model.describe(self.lora)
        return {"time": described, "accuracy": "no model: nothing is trained"}

    def _learner(self, num_clients: int, costs: ModelCosts) -> Learner:
        rank = self.model.rank_of(self.lora.r, self.lora)
        bits = self.payload.bits(costs.extent(rank))
        work = costs.training_work(rank=rank, training=self.training)
        return NoLearning(
            num_clients=num_clients,
            download_bits=bits,
            upload_bits=bits,
            compute_flop=work.flop,
            counted=work,
            memory_bytes=costs.training_memory_bytes(rank=rank, training=self.training),
            samples_per_client=self.samples_per_client,
        )
