"""What local training asks of the adapters that it moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from fl.model.adapters import Adapter
from fl.training.grouping import Rule

if TYPE_CHECKING:
    from torch import Tensor


class Rows(Protocol):
    """Each client's trained numbers and their gradients, as rows of two matrices."""

    values: Tensor
    gradients: Tensor
    bf16: bool  # whether matrix products are computed under autocast

    @property
    def rule(self) -> Rule:
        """Return which clients go through the model together."""
        ...

    def at_work(self) -> AbstractContextManager[None]:
        """Let the model compute with these numbers."""
        ...

    def add_gradients(
        self,
        rows: Sequence[int],
        batches: Sequence[Mapping[str, Tensor]],
        num_items: Sequence[int],
    ) -> Tensor:
        """Add the gradients of these clients' losses to their rows; return the losses.

        A loss is a sum over the batch, divided by the client's number of items.
        """
        ...

    def trained(self, row: int, *, gain: float) -> Adapter:
        """Return a client's adapter on the CPU.

        ``gain`` multiplies the change of what a sketch touched.
        """
        ...
