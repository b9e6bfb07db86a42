"""From a client's trained adapter to what the server has of it, and what is kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fl.model.adapters import Adapter
from fl.model.payload import PartName
from fl.model.sketch import Sketch, scattered, sketched, whole_sketch
from fl.settings.federation import FederationSettings

if TYPE_CHECKING:
    from torch import Tensor


def uploaded(
    learning: FederationSettings,
    start: Adapter,
    trained: Adapter,
    *,
    sends: Sequence[PartName],
    sketch: Sketch | None,
    kept: Tensor | None,
) -> tuple[Adapter, Tensor | None]:
    """Return what arrives of a client that sends these factors of what it trained, and
    the flat adapter that stays with the client.

    Only what moved travels. A compression acts on the change since ``start``, as one
    flat upload; ``kept`` is what its last one left behind.
    """
    whole = sketch or whole_sketch(trained.layout.rank)
    after = sketched(trained.layout, trained.tensors(), whole)
    names = [p.name for p in trained.layout.parts if learning.travels(p, sends)]
    left = trained.flat if learning.aggregation.contract.personal else None
    if learning.compression is None:
        after.update((name, learning.payload.rounded(after[name])) for name in names)
    else:
        before = sketched(start.layout, start.tensors(), whole)
        delivery = learning.compression.deliver(
            _joined(before, names), _joined(after, names), kept
        )
        left = left if delivery.kept_back is None else delivery.kept_back
        after.update(_parted(delivery.received, after, names))
    if sketch is not None and sketch.is_own:
        return trained.layout.at_rank(sketch.rank).pack(after), left
    return scattered(start, whole, after, gain=1.0), left


def _joined(tensors: dict[str, Tensor], names: Sequence[str]) -> Tensor:
    import torch

    return torch.cat([tensors[name].flatten() for name in names])


def _parted(
    flat: Tensor, like: dict[str, Tensor], names: Sequence[str]
) -> dict[str, Tensor]:
    """Return a flat upload as the tensors that it is made of."""
    import torch

    chunks = torch.split(flat, [like[name].numel() for name in names])
    return {
        name: chunk.view(like[name].shape)
        for name, chunk in zip(names, chunks, strict=True)
    }
