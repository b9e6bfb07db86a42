"""How long a Flower app's clients take, where a scenario says so."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from fl.contract import Work
from netsim.core.clock import to_ns
from netsim.core.quantities import Seconds
from netsim.scenario import Record

Time = Annotated[Seconds, Field(ge=0)]


class DeclaredTime(Record):
    """How long a client takes for an answer, where torch does not count its work.

    The times add up: of the message, of each example that the answer names under
    ``examples``, and of each mini-batch of ``batch_size`` of them. ``speed_spread`` and
    ``compute_jitter`` of the population apply, the devices' speeds do not.
    """

    per_message_s: Time = 0.0
    per_example_s: Time = 0.0
    per_batch_s: Time = 0.0
    batch_size: Annotated[int, Field(ge=1)] | None = None
    examples: str = "num-examples"

    @model_validator(mode="after")
    def _check_batches(self) -> DeclaredTime:
        if bool(self.per_batch_s) != (self.batch_size is not None):
            raise ValueError("per_batch and batch_size go together: give both or none")
        return self

    @property
    def counts_examples(self) -> bool:
        """Return whether the time depends on the number of examples."""
        return bool(self.per_example_s or self.per_batch_s)

    def work(self, num_examples: float) -> Work:
        """Return the work of an answer about so many examples."""
        seconds = self.per_message_s + num_examples * self.per_example_s
        if self.batch_size is not None:
            seconds += -(-num_examples // self.batch_size) * self.per_batch_s
        return Work(0, declared_ns=to_ns(seconds))
