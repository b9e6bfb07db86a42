"""Compression of uploads, with error feedback where the method has it.

Compression acts on the change of a client's flat adapter since the broadcast, never on
the factors themselves: a dropped part of the change can be sent later. Merges receive
full factors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, Protocol

from pydantic import Field

from fl.record import Record

if TYPE_CHECKING:
    from torch import Tensor

SCALE_BITS = 32
VALUE_BITS = 32
FACTS = (  # that ``deliver`` may ask for
    *("sent", "trained", "kept_back", "rng"),
    *("round_id", "client_id", "loss"),
)


class Delivery(NamedTuple):
    """The adapter as the server receives it, and the client's error memory, if any."""

    received: Tensor
    kept_back: Tensor | None


class Compression(Protocol):
    """Compresses the uploads of clients."""

    @property
    def has_memory(self) -> bool:
        """Return whether clients keep an error memory."""

    @property
    def deliver(self) -> Callable[..., Delivery]:
        """Return the method that returns the received form of ``trained``, where the
        server broadcast ``sent``; its arguments name those of ``FACTS`` that it needs.

        ``kept_back`` is the client's error memory, none at first; ``rng`` a stream of
        the client and its start; ``loss`` is the mean over its mini-batches.
        """

    def bits(self, num_numbers: int) -> int:
        """Return the bits of an upload of ``num_numbers`` numbers."""


class Quantised(Record):
    """Round the change to signed integers of 8 or 4 bits, one float32 scale per block.

    Symmetric, rounded to nearest, without error feedback.
    """

    kind: Literal["quantised"] = "quantised"
    has_memory: ClassVar = False
    num_bits: Literal[4, 8] = 8
    block_size: int = Field(default=256, ge=1)

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
    """Send the largest entries of the change plus the error memory; the others stay in
    the memory (error feedback, Stich et al., arXiv 1809.07599)."""

    kind: Literal["top-k"] = "top-k"
    has_memory: ClassVar = True
    share: float = Field(default=0.1, gt=0, le=1)

    def num_kept(self, num_numbers: int) -> int:
        """Return the number of entries sent."""
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


COMPRESSIONS: dict[str, type[Compression]] = {
    "quantised": Quantised,
    "top-k": TopK,
}
