"""The interface of a backbone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from fl.tasks import Source, Task, Tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where a pre-trained base model lies, for a program that loads its adapter."""

    name: str  # a folder, or an id of the hub
    revision: str | None  # the hub's commit
    files: Mapping[str, str]  # SHA-256 of its configuration and weights
    licence: str | None  # as its own model card names it
    new_weights: frozenset[str]  # drawn from a seed: they are nowhere in the files
    has_mean_pooling: bool


class Backbone(Protocol):
    """Makes the base model for a task, and its tokenizer."""

    def digest(self, task: Source) -> str:
        """Return the digest of what determines the model, without importing torch."""

    def tokenizer(self, task: Source) -> Tokenizer | None:
        """Return the tokenizer for the task's texts, or None for images; no torch.

        Raises ``ValueError`` if the model does not fit the task.
        """

    def load(self, task: Source) -> PreTrainedModel:
        """Return a new model on the CPU, in eval mode.

        A bfloat16 model keeps its classification head in float32; inputs are cast. A
        model of pre-trained weights has their ``Origin`` as its attribute ``origin``.
        """


def read(task: Source, backbone: Backbone) -> Task:
    """Return the task tokenized for this model, ready for training."""
    return task.read_by(backbone.tokenizer(task))
