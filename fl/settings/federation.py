"""What one federation learns, from what, and how."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from fl.aggregation import (
    Compression,
    Exchange,
    FloraNA,
    Method,
    PlainServer,
    ServerOptimiser,
)
from fl.backbones import Backbone, SmallViT
from fl.local import LocalTraining, Plain
from fl.model.adapters import Adapter, LoraSettings, Part
from fl.model.evaluation_settings import EvaluationSettings
from fl.model.payload import PartName, Payload
from fl.partition import DirichletByLabel, Partition
from fl.settings.local_training import OnDivergence, TrainingSettings
from fl.tasks import Digits, Source

# A client of smaller rank trains a random sketch of the adapter, drawn again for each
# start, or a LoRA of its own rank: the adapter's first columns, and no more of it.
LowRank: TypeAlias = Literal["sketched", "truncated"]


@dataclass(frozen=True, kw_only=True, slots=True)
class FederationSettings:
    """Every choice of a federation that is not the network's."""

    task: Source = field(default_factory=Digits)
    backbone: Backbone = field(default_factory=SmallViT)
    partition: Partition = field(default_factory=DirichletByLabel)
    lora: LoraSettings = field(default_factory=LoraSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    local_training: LocalTraining = field(default_factory=Plain)
    aggregation: Method = field(default_factory=FloraNA)
    payload: Payload = field(default_factory=Payload)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    cohort_size: int = 16
    start: str | None = None  # the folder of a PEFT adapter
    low_rank: LowRank | None = None  # None: the method's own
    server_optimiser: ServerOptimiser = field(default_factory=PlainServer)
    compression: Compression | None = None
    secure_aggregation: bool = False  # the server learns weighted sums of uploads only
    on_divergence: OnDivergence = "drop"

    @property
    def small_clients(self) -> LowRank:
        """Return what clients of smaller rank do."""
        return self.low_rank or self.aggregation.contract.small_clients

    def exchange(self, turn: int) -> Exchange:
        """Return what is trained and travels in a round, counted from one."""
        return self.aggregation.exchange(max(0, turn - 1))

    @property
    def keeps_state(self) -> bool:
        """Return whether a client goes on with something of its own."""
        is_compressed = self.compression is not None and self.compression.has_memory
        is_personal = bool(self.aggregation.contract.personal)
        return is_compressed or is_personal or self.local_training.demands.keeps

    @property
    def keeps_as_sent(self) -> bool:
        """Return whether the server itself goes on from what it sent: merges of one
        factor need the other to be the same at all clients, bit for bit, and norm
        weights know no difference between a version and what was sent of it."""
        has_norm_weights = "independent-sampling" in self.aggregation.contract.cannot
        return len(self.exchange(1).trains) == 1 or has_norm_weights

    def travels(self, part: Part, factors: Collection[PartName]) -> bool:
        """Return whether a tensor is sent where these factors are."""
        if part.factor is None:
            return "rest" not in self.aggregation.contract.personal
        return part.factor in factors

    def as_sent(self, adapter: Adapter, factors: Collection[PartName]) -> Adapter:
        """Return an adapter as it is where these of its factors have travelled."""
        return self.payload.delivered(adapter, lambda part: self.travels(part, factors))
