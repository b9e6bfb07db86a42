"""What one federation is told to learn."""

from __future__ import annotations

from dataclasses import dataclass, field

from fl.adapters import LoraSettings
from fl.aggregation import FloraNA
from fl.backbones import Backbone, SmallViT
from fl.evaluation import EvaluationSettings
from fl.merging import Aggregation
from fl.partition import DirichletByLabel, Partition
from fl.payload import Payload
from fl.tasks import Digits, Source
from fl.training import TrainingSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class Learning:
    """What is learned, from what, and how: every choice that is not the network's."""

    task: Source = field(default_factory=Digits)
    backbone: Backbone = field(default_factory=SmallViT)
    partition: Partition = field(default_factory=DirichletByLabel)
    lora: LoraSettings = field(default_factory=LoraSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    aggregation: Aggregation = field(default_factory=FloraNA)
    payload: Payload = field(default_factory=Payload)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    cohort_size: int = 16
    start: str | None = None  # the folder of a PEFT adapter
