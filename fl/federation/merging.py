"""From adapters and their weights to one adapter: METHOD.md 11's list."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, NamedTuple

from fl.aggregation import LayerComponents, MergedLayer, Method, Pair, weighted_mean
from fl.aggregation.dora import merged_magnitudes
from fl.contract import LayerError
from fl.model.adapters import Adapter

if TYPE_CHECKING:
    from torch import Tensor

NEGLIGIBLE_WEIGHT = 1e-12
MAGNITUDE = "lora_magnitude_vector"  # the lengths of DoRA's rows


class Component(NamedTuple):
    """One adapter with its weight; the weights of a merge sum to one."""

    adapter: Adapter
    weight: float


def combined(terms: Sequence[Component]) -> list[Component]:
    """Return the terms with equal adapters added up and those of no weight left out."""
    weights: dict[Adapter, list[float]] = {}
    for adapter, weight in terms:
        weights.setdefault(adapter, []).append(weight)
    totals = [Component(adapter, math.fsum(w)) for adapter, w in weights.items()]
    return [term for term in totals if abs(term.weight) > NEGLIGIBLE_WEIGHT]


@dataclass(frozen=True, slots=True)
class MergedAdapter:
    """A merge's adapter, what it adds to the base, and how well each layer went."""

    adapter: Adapter
    folds: dict[str, Pair]
    rows: tuple[LayerError, ...]


def merge_adapters(
    method: Method,
    components: Sequence[Component],
    previous: Adapter | None = None,
) -> MergedAdapter:
    """Return the merged adapter and how well each of its layers was merged.

    LoRA pairs, of any ranks, go through ``method``; what is trained outside LoRA is
    averaged with the same weights. ``previous`` is the global adapter before the round:
    gauges align to it and the update is measured from it.
    """
    adapters = [component.adapter for component in components]
    weights = tuple(component.weight for component in components)
    pairs = [adapter.pairs() for adapter in adapters]
    before = {} if previous is None else previous.pairs()
    merged = method.merge(
        {
            module: LayerComponents(
                tuple(Pair(*p[module]) for p in pairs),
                weights,
                Pair(*before[module]) if before else None,
            )
            for module in adapters[0].layout.modules
        }
    )
    rows = tuple(
        LayerError(name, method.kind, **asdict(layer.diagnostics))
        for name, layer in merged.items()
    )
    return MergedAdapter(*assembled(components, merged), rows)


def assembled(
    components: Sequence[Component], merged: Mapping[str, MergedLayer]
) -> tuple[Adapter, dict[str, Pair]]:
    """Return the adapter of merged layers, with the mean of what is trained outside
    LoRA, and what they add to the base."""
    adapters = [component.adapter for component in components]
    weights = [component.weight for component in components]
    factors = {name: layer.pair for name, layer in merged.items()}
    return (
        adapters[0].with_pairs(factors, merged_rest(adapters, weights)),
        {name: layer.fold for name, layer in merged.items() if layer.fold is not None},
    )


def merged_rest(
    adapters: Sequence[Adapter], weights: Sequence[float]
) -> dict[str, Tensor]:
    """Return the mean of what is trained outside LoRA; DoRA's lengths stay positive."""
    rests = [adapter.rest() for adapter in adapters]
    return {
        name: (merged_magnitudes if name.endswith(MAGNITUDE) else weighted_mean)(
            [rest[name] for rest in rests], weights
        )
        for name in rests[0]
    }
