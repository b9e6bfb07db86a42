"""What a federation asks of a base model, whatever it is made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from fl.tasks import Source, Task, Tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Precision = Literal["float32", "bfloat16"]


class Backbone(Protocol):
    """Makes the base model of a task, and the tokenizer that goes with it."""

    def digest(self, task: Source) -> str:
        """Return the digest of the base model's recipe, without importing torch."""
        ...

    def tokenizer(self, task: Source) -> Tokenizer | None:
        """Return what reads the task's texts, without importing torch; none for images.

        Refuses a task that this model cannot learn.
        """
        ...

    def load(self, task: Source) -> PreTrainedModel:
        """Return a new model on the CPU, in eval mode.

        In bfloat16 a classification head stays float32 and casts what it is given.
        """
        ...


def read(task: Source, backbone: Backbone) -> Task:
    """Return the task in the numbers of this model, ready to be learned."""
    return task.read_by(backbone.tokenizer(task))
