"""The numbers that travel: their precision, and what it does to an adapter."""

from __future__ import annotations

from typing import Literal

from fl.adapters import Adapter
from fl.record import Record


class Payload(Record):
    """How every number of an adapter is written on the air, in both directions."""

    precision: Literal["float32", "bfloat16"] = "float32"

    @property
    def bits_per_number(self) -> int:
        """Return the bits that one number takes."""
        return {"float32": 32, "bfloat16": 16}[self.precision]

    def delivered(self, adapter: Adapter) -> Adapter:
        """Return the adapter as it is after the journey."""
        import torch

        if self.precision == "float32":
            return adapter
        rounded = adapter.flat.to(torch.bfloat16).to(adapter.flat.dtype)
        return Adapter(adapter.layout, rounded)
