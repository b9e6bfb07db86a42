"""How a client trains, as a record without torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from fl.record import Record

OptimiserName = Literal["sgd", "momentum", "adamw"]
ScheduleName = Literal["constant", "constant_with_warmup", "linear", "cosine"]

# Clients whose numbers are not finite are left out of the merge, or end the run.
OnDivergence = Literal["drop", "stop"]


class TrainingSettings(Record):
    """A client's local training, with the names of Hugging Face's ``Trainer``.

    A local step is one optimiser step over ``gradient_accumulation_steps``
    mini-batches. Each participation starts the schedule and the warm-up again.
    """

    local_steps: int = Field(default=10, ge=1)
    per_device_train_batch_size: int = Field(default=16, ge=1)
    gradient_accumulation_steps: int = Field(default=1, ge=1)
    learning_rate: float = Field(default=5e-3, gt=0, allow_inf_nan=False)
    lr_scheduler_type: ScheduleName = "constant"
    warmup_steps: int = Field(default=0, ge=0)
    optim: OptimiserName = "adamw"
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    max_grad_norm: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    bf16: bool = False  # autocast
    cache_frozen_layers: bool = False  # of each sample, below the first trained layer

    @model_validator(mode="after")
    def _check_warmup(self) -> TrainingSettings:
        if self.warmup_steps and self.lr_scheduler_type == "constant":
            raise ValueError(
                "warmup_steps needs another lr_scheduler_type than constant: "
                "constant_with_warmup, linear or cosine"
            )
        return self
