"""From arrivals to the next version, in pure functions: METHOD.md 11's list.

``components`` turns what arrived into adapters with weights, ``merge_adapters`` makes
one adapter of them, and ``next_version`` the model that clients start from next.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, NamedTuple

from fl.aggregation import LayerComponents, MergedLayer, Method, Pair
from fl.aggregation.context import MergeContext, merged_by
from fl.aggregation.dora import merged_magnitudes
from fl.aggregation.method import Rest
from fl.contract import LayerError
from fl.federation.versions import Version, refolded
from fl.model.adapters import Adapter
from fl.settings.federation import FederationSettings

if TYPE_CHECKING:
    from torch import Tensor

NEGLIGIBLE_WEIGHT = 1e-12
MAGNITUDE = "lora_magnitude_vector"  # the lengths of DoRA's rows


class Component(NamedTuple):
    """One adapter with its weight; the weights of a merge sum to one."""

    adapter: Adapter
    weight: float


def components(
    newest: Adapter,
    starts: Sequence[Adapter],
    ends: Sequence[Adapter],
    weights: Sequence[float],
) -> list[Component]:
    """Return the newest adapter with weight one, each client's with its weight, and
    what it started from with minus that weight; equal adapters are added up and those
    of no weight left out."""
    totals: dict[Adapter, list[float]] = {newest: [1.0]}
    for adapter, weight in zip(starts, weights, strict=True):
        totals.setdefault(adapter, []).append(-weight)
    for adapter, weight in zip(ends, weights, strict=True):
        totals.setdefault(adapter, []).append(weight)
    found = [Component(adapter, math.fsum(w)) for adapter, w in totals.items()]
    return [one for one in found if abs(one.weight) > NEGLIGIBLE_WEIGHT]


def layer_components(
    parts: Sequence[Component], previous: Adapter | None
) -> dict[str, LayerComponents]:
    """Return the components of each adapted matrix."""
    weights = tuple(part.weight for part in parts)
    pairs = [part.adapter.pairs() for part in parts]
    before = {} if previous is None else previous.pairs()
    return {
        module: LayerComponents(
            tuple(own[module] for own in pairs), weights, before.get(module)
        )
        for module in pairs[0]
    }


def merge_adapters(
    method: Method,
    parts: Sequence[Component],
    previous: Adapter | None = None,
    context: MergeContext | None = None,
) -> tuple[Adapter, dict[str, Pair], tuple[LayerError, ...]]:
    """Return the merged adapter, what it adds to the base, and how well each of its
    layers was merged.

    LoRA pairs, of any ranks, go through ``method``; what is trained outside LoRA goes
    through its ``contract.rest``, with the same weights. ``previous`` is the global
    adapter before the round: gauges align to it and the update is measured from it.
    """
    merged = merged_by(method, layer_components(parts, previous), context)
    errors = tuple(
        LayerError(name, method.kind, **asdict(layer.diagnostics))
        for name, layer in merged.items()
    )
    return *assembled(parts, merged, method.contract.rest), errors


def next_version(
    learning: FederationSettings,
    before: Version,
    adapter: Adapter,
    folds: Mapping[str, Pair],
    turn: int,
    shared: Tensor | None = None,
) -> Version:
    """Return the version after a merge of one round's arrivals and the step of the
    server's optimiser; ``turn`` is the number of the round within its phase, ``shared``
    what is sent with the version."""
    flat, memory = learning.server_optimiser.step(
        before.adapter.flat, adapter.flat, before.memory
    )
    after = Adapter(adapter.layout, flat)
    if learning.keeps_as_sent:
        after = learning.as_sent(after, learning.exchange(turn).receives)
    return Version(after, refolded(before, folds), memory, shared)


def assembled(
    parts: Sequence[Component], merged: Mapping[str, MergedLayer], rest: Rest
) -> tuple[Adapter, dict[str, Pair]]:
    """Return the adapter of merged layers, with what is trained outside LoRA merged by
    ``rest``, and what they add to the base."""
    factors = {name: layer.pair for name, layer in merged.items()}
    folds = {name: one.fold for name, one in merged.items() if one.fold is not None}
    return parts[0].adapter.with_pairs(factors, _merged_rest(parts, rest)), folds


class SquaredChanges(NamedTuple):
    """The squared norm of each client's change, and of their weighted sum."""

    norms2: tuple[float, ...]
    sum_norm2: float


def squared_changes(
    starts: Sequence[Adapter],
    ends: Sequence[Adapter],
    weights: Sequence[float],
    *,
    without: Collection[str] = (),
) -> SquaredChanges:
    """Return the squared norms of the changes, over all that is trained but these
    factors, or the ``rest``, in float64; a change of lower rank has zeros beyond it."""
    largest = max(ends, key=lambda one: one.layout.num_numbers)
    flat = largest.flat.new_zeros(largest.flat.shape).double()
    norms2, total = [], largest.layout.views(flat)
    for start, end, weight in zip(starts, ends, weights, strict=True):
        change = end.flat.double() - start.flat.double()
        views = end.layout.views(change)
        for part in end.layout.parts:
            if (part.factor or "rest") in without:
                views[part.name].zero_()
        norms2.append(float(change.square().sum()))
        if end.layout == largest.layout:
            flat += weight * change
            continue
        for name, view in views.items():
            total[name][tuple(map(slice, view.shape))] += weight * view
    sum_norm2 = math.fsum(float(part.square().sum()) for part in total.values())
    return SquaredChanges(tuple(norms2), sum_norm2)


def _merged_rest(parts: Sequence[Component], rest: Rest) -> dict[str, Tensor]:
    """Return what is trained outside LoRA, merged; DoRA's lengths by a mean that stays
    positive."""
    rests = [part.adapter.rest() for part in parts]
    weights = [part.weight for part in parts]
    return {
        name: (merged_magnitudes if name.endswith(MAGNITUDE) else rest)(
            [own[name] for own in rests], weights
        )
        for name in rests[0]
    }
