"""How far clients moved the adapter: plain numbers for whoever plans with them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from fl.model.adapters import Adapter


def squared_changes(
    starts: Sequence[Adapter],
    ends: Sequence[Adapter],
    *,
    without: Collection[str] = (),
) -> tuple[float, ...]:
    """Return the squared norm of each change, over all that is trained but these
    factors, or the ``rest``, in float64."""
    found = []
    for start, end in zip(starts, ends, strict=True):
        change = end.flat.double() - start.flat.double()
        views = end.layout.views(change)
        for part in end.layout.parts:
            if (part.factor or "rest") in without:
                views[part.name].zero_()
        found.append(float(change.square().sum()))
    return tuple(found)
