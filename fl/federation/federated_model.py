"""The one model of a federation, made at first need, with a version's numbers in it.

Only plain settings are kept until then, so that it may be sent to another process.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from fl.backbones import read
from fl.federation.versions import Version
from fl.federation.warm_start import start_adapter
from fl.model.adapters import Adapter
from fl.model.device import require
from fl.model.shared_base import shared_base
from fl.settings.federation import FederationSettings
from fl.streams import NUM_THREADS
from fl.tasks import Task

if TYPE_CHECKING:
    from fl.model.lora_model import LoraModel


@dataclass(frozen=True)
class FederatedModel:
    """A base model with its adapter, and the task in its tokens; both are made when
    they are asked for."""

    learning: FederationSettings
    seed: int
    device: str
    precision: Literal["float32", "float64"]

    def __getstate__(self) -> dict[str, object]:
        """Return the settings: another process makes its own model and task."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @cached_property
    def task(self) -> Task:
        """Return the task in the backbone's tokens."""
        return read(self.learning.task, self.learning.backbone)

    @property
    def lora_model(self) -> LoraModel:
        """Return the model."""
        return self._loaded[0]

    @cached_property
    def initial(self) -> Adapter:
        """Return the adapter before any training; raises ``DoesNotFit``."""
        fresh = self._loaded[1]
        if self.learning.start is None:
            return fresh
        return start_adapter(Path(self.learning.start), self.lora_model)

    @cached_property
    def _loaded(self) -> tuple[LoraModel, Adapter]:
        import torch

        from fl.model.lora_model import LoraModel

        require(self.device)
        torch.set_num_threads(NUM_THREADS)
        lora_model = LoraModel(
            shared_base(
                self.learning.backbone,
                self.learning.task,
                device=self.device,
                precision=self.precision,
            ),
            self.learning.lora,
            seed=self.seed,
            precision=self.precision,
            device=self.device,
        )
        if self.learning.training.cache_frozen_layers:
            lora_model.cache_frozen_layers(self.task.batch("train", np.arange(1)))
        return lora_model, lora_model.read()

    def as_version(self, version: Version) -> LoraModel:
        """Return the model with a version's numbers in it."""
        model = version.with_layout(self.lora_model.layout)
        self.lora_model.fold(model.folds())
        self.lora_model.write(model.adapter)
        return self.lora_model
