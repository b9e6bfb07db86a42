"""The rows of numbers that a cohort trains, by what the model's layers can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from fl.local.strategy import Loss
from fl.model.adapters import Adapter
from fl.model.lora_model import LoraModel
from fl.model.sketch import whole_sketch
from fl.streams import forked, torch_stream
from fl.training.core import CoreStack
from fl.training.grouping import PassRule
from fl.training.job import LocalJob
from fl.training.stack import Stack
from fl.training.switched import Switched

if TYPE_CHECKING:
    import torch
    from torch import Tensor

CORE = ("core",)


class Rows(Protocol):
    """What some clients train, as rows of numbers that the model computes with."""

    rule: PassRule
    bf16: bool
    values: Tensor  # [clients, numbers]
    gradients: Tensor  # of the same shape: room for a step's

    def active(self) -> AbstractContextManager[None]:
        """Make the model compute with these rows."""

    def differentiated(
        self,
        rows: Sequence[int],
        batches: Sequence[Mapping[str, Tensor]],
        num_items: Sequence[int],
        loss: Loss,
    ) -> tuple[Tensor, Tensor]:
        """Return the loss of each batch, one per row named, and its gradient."""

    def own(self, row: int, numbers: Tensor) -> Sequence[Tensor]:
        """Return the client's own numbers of a row, as views."""

    def replace(self, row: int, adapter: Adapter) -> None:
        """Take the numbers of a whole adapter for a client's."""

    def trained(self, row: int, *, gain: float) -> Adapter:
        """Return a client's adapter; ``gain`` multiplies the change of a sketch."""


def rows_of(lora_model: LoraModel, jobs: Sequence[LocalJob], seed: int) -> Rows:
    """Return the rows of clients that train the same parts."""
    starts, trains = [job.start for job in jobs], jobs[0].trains
    if trains == CORE:
        own = [_generator(lora_model, seed, job) for job in jobs]
        return CoreStack(lora_model, starts, own, seed)
    if lora_model.is_stackable:
        own = [_generator(lora_model, seed, job) for job in jobs]
        sketches = [job.sketch or whole_sketch(job.rank) for job in jobs]
        return Stack(lora_model, starts, sketches, own, trains)
    (job,) = jobs
    if len(set(trains)) < 2:
        raise ValueError("one factor alone is trained in plain LoRA only")
    dropout = forked(seed, "dropout", job.client_id, job.start_index)
    return Switched(lora_model, job.start, job.sketch, dropout)


def _generator(lora_model: LoraModel, seed: int, job: LocalJob) -> torch.Generator:
    import torch

    own = torch_stream(seed, "dropout", job.client_id, job.start_index)
    return torch.Generator(lora_model.device).manual_seed(own.initial_seed())
