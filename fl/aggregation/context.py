"""What a merge may ask for, by the names of its arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import numpy as np

from fl.aggregation.components import LayerComponents, MergedLayer
from fl.aggregation.method import Method
from fl.record import told
from fl.streams import stream


@dataclass(frozen=True, kw_only=True, slots=True)
class MergeContext:
    """What is known of a merge besides the layers, about the updates in the order of
    (client, start index); without a run, as in ``netsim merge``, of none.

    ``rng`` is the merge's own stream, ``weights`` those that the server gave,
    ``losses`` the means over each client's mini-batches, where they are told.
    """

    round_id: int = 0
    rng: np.random.Generator = field(default_factory=lambda: stream(0, "merge"))
    client_ids: tuple[int, ...] = ()
    weights: tuple[float, ...] = ()
    losses: tuple[float | None, ...] = ()


NAMES = ("layers", "context", *(one.name for one in fields(MergeContext)))


def merged_by(
    method: Method,
    layers: Mapping[str, LayerComponents],
    context: MergeContext | None = None,
) -> dict[str, MergedLayer]:
    """Return the merged layers of a method, told of the context what it asks for."""
    known = MergeContext() if context is None else context
    facts = {name: getattr(known, name) for name in NAMES[2:]}
    asked = told(type(method).merge, {"layers": layers, "context": known, **facts})
    return method.merge(**asked)
