"""Fewer bits for an upload: what the server receives, what the client keeps back.

All act on the change since the broadcast, over a client's flat upload, and come before
any merge: a merge sees full factors. Zeroing small entries of the factors themselves
would throw away the model; of the change, only what can be sent later.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from pydantic import Field

from fl.record import Record

if TYPE_CHECKING:
    from torch import Tensor

SCALE_BITS = 32
VALUE_BITS = 32


class Delivery(NamedTuple):
    """The upload as the server has it, and the client's error memory if it has one."""

    received: Tensor
    kept_back: Tensor | None


class Compression(Protocol):
    """Shortens the uploads of one client after the other."""

    @property
    def has_memory(self) -> bool:
        """Return whether a client keeps back what it did not send."""
        ...

    def deliver(
        self, sent: Tensor, trained: Tensor, kept_back: Tensor | None
    ) -> Delivery:
        """Return what arrives of ``trained`` at a server that broadcast ``sent``.

        ``kept_back`` is what this client's last delivery kept, none at first.
        """
        ...

    def bits(self, num_numbers: int) -> int:
        """Return the bits that so many numbers take on the air."""
        ...


class Quantised(Record):
    """Round the change to signed integers of 8 or 4 bits, one float32 scale per block.

    Symmetric and to the nearest; nothing is kept back.
    """

    kind: Literal["quantised"] = "quantised"
    num_bits: Literal[4, 8] = 8
    block_size: int = Field(default=256, ge=1)

    @property
    def has_memory(self) -> bool:
        return False

    def deliver(
        self, sent: Tensor, trained: Tensor, kept_back: Tensor | None
    ) -> Delivery:
        from torch.nn.functional import pad

        change = trained - sent
        missing = -len(change) % self.block_size
        blocks = pad(change, (0, missing)).view(-1, self.block_size)
        top = 2 ** (self.num_bits - 1) - 1
        scales = blocks.abs().amax(1, keepdim=True) / top
        whole = (blocks / scales.masked_fill(scales == 0, 1)).round().clamp(-top, top)
        received = sent + (whole * scales).flatten()[: len(change)]
        return Delivery(received, None)

    def bits(self, num_numbers: int) -> int:
        num_blocks = -(-num_numbers // self.block_size)
        return num_numbers * self.num_bits + num_blocks * SCALE_BITS


class TopK(Record):
    """Send the largest entries of the change plus all kept back, and keep the rest back
    (error feedback, Stich et al., arXiv 1809.07599)."""

    kind: Literal["top-k"] = "top-k"
    share: float = Field(default=0.1, gt=0, le=1)

    @property
    def has_memory(self) -> bool:
        return True

    def num_kept(self, num_numbers: int) -> int:
        """Return how many entries are sent."""
        return min(num_numbers, max(1, round(self.share * num_numbers)))

    def deliver(
        self, sent: Tensor, trained: Tensor, kept_back: Tensor | None
    ) -> Delivery:
        import torch

        change = trained - sent if kept_back is None else trained - sent + kept_back
        largest = change.abs().topk(self.num_kept(len(change))).indices
        chosen = torch.zeros_like(change)
        chosen[largest] = change[largest]
        return Delivery(sent + chosen, change - chosen)

    def bits(self, num_numbers: int) -> int:
        index_bits = math.ceil(math.log2(num_numbers)) if num_numbers > 1 else 0
        return self.num_kept(num_numbers) * (VALUE_BITS + index_bits)


COMPRESSIONS: dict[str, type[Quantised] | type[TopK]] = {
    "quantised": Quantised,
    "top-k": TopK,
}
