"""The interface of the trained numbers of several clients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from fl.model.adapters import Adapter
from fl.training.grouping import PassRule

if TYPE_CHECKING:
    from torch import Tensor


class Rows(Protocol):
    """The trained numbers of clients and their gradients, one row per client each."""

    values: Tensor
    gradients: Tensor
    bf16: bool  # whether matrix products are computed under autocast

    @property
    def rule(self) -> PassRule:
        """Return the rule that groups clients into passes."""
        ...

    def active(self) -> AbstractContextManager[None]:
        """Make the model compute with these numbers."""
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

        ``gain`` multiplies the change of the sketched numbers.
        """
        ...
