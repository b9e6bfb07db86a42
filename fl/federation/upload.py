"""From a client's trained adapter to what the server has of it, and what is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fl.aggregation.compression import FACTS
from fl.model.adapters import Adapter, Layout
from fl.model.payload import PartName
from fl.model.sketch import Sketch, scattered, sketched, whole_sketch
from fl.record import told
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
    facts: Mapping[str, object],
) -> tuple[Adapter, Tensor | None]:
    """Return what arrives of a client that sends these factors of what it trained, and
    the flat adapter that stays with the client.

    Only what moved travels. A compression acts on the change since ``start``, as one
    flat upload; ``kept`` is what its last one left behind, ``facts`` what else it may
    ask for.
    """
    whole = sketch or whole_sketch(trained.layout.rank)
    after = sketched(trained.layout, trained.tensors(), whole)
    layout = trained.layout.at_rank(whole.rank)
    sent = Layout(tuple(p for p in layout.parts if learning.travels(p, sends)))
    left = trained.flat if learning.aggregation.contract.personal else None
    if learning.compression is None:
        for part in sent.parts:
            after[part.name] = learning.payload.rounded(after[part.name])
    else:
        before = sketched(start.layout, start.tensors(), whole)
        own = sent.pack(before).flat, sent.pack(after).flat, kept
        known = {**dict(zip(FACTS, own, strict=False)), **facts}
        method = type(learning.compression).deliver
        delivery = learning.compression.deliver(**told(method, known))
        left = left if delivery.kept_back is None else delivery.kept_back
        after.update(sent.views(delivery.received))
    if sketch is not None and sketch.is_own:
        return layout.pack(after), left
    return scattered(start, whole, after, gain=1.0), left
