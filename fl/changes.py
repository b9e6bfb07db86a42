"""How far clients moved the adapter: plain numbers for whoever plans with them."""

from __future__ import annotations

from collections.abc import Sequence

from fl.adapters import Adapter


def squared_changes(
    starts: Sequence[Adapter], ends: Sequence[Adapter]
) -> tuple[float, ...]:
    """Return the squared norm of each change, over all that is trained, in float64."""
    changes = (
        (end.flat.double() - start.flat.double()).square().sum()
        for start, end in zip(starts, ends, strict=True)
    )
    return tuple(float(change) for change in changes)
