"""From adapters and their weights to one adapter: METHOD 11's list of components."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple, Protocol

from fl.adapters import Adapter
from fl.aggregation import LayerComponents, Merge, Pair, weighted_mean

NEGLIGIBLE_WEIGHT = 1e-12


class Component(NamedTuple):
    """One adapter with its weight; the weights of a merge sum to one."""

    adapter: Adapter
    weight: float


class Aggregation(Merge, Protocol):
    """A merge with the name that the trace shows."""

    @property
    def kind(self) -> str:
        """Return the name."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class MergeRow:
    """How far one layer's merge is from the ideal one."""

    layer: str
    method: str
    num_components: int
    relative_error: float
    average_relative_error: float
    update_relative_error: float | None
    left_spread: float | None
    right_spread: float | None


def combined(terms: Sequence[Component]) -> list[Component]:
    """Return the terms with equal adapters added up and those of no weight left out."""
    weights: dict[Adapter, list[float]] = {}
    for adapter, weight in terms:
        weights.setdefault(adapter, []).append(weight)
    totals = [Component(adapter, math.fsum(w)) for adapter, w in weights.items()]
    return [term for term in totals if abs(term.weight) > NEGLIGIBLE_WEIGHT]


def merge_adapters(
    method: Aggregation,
    components: Sequence[Component],
    previous: Adapter | None = None,
) -> tuple[Adapter, tuple[MergeRow, ...]]:
    """Return the merged adapter and how well each of its layers was merged.

    LoRA pairs go through ``method``; what is trained outside LoRA is averaged with the
    same weights. ``previous`` is the global adapter before the round: gauges align to
    it and the update is measured from it.
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
    assert all(layer.fold is None for layer in merged.values())
    rests = [adapter.rest() for adapter in adapters]
    rest = {name: weighted_mean([r[name] for r in rests], weights) for name in rests[0]}
    rows = tuple(
        MergeRow(
            layer=name,
            method=method.kind,
            **asdict(layer.diagnostics),
        )
        for name, layer in merged.items()
    )
    factors = {name: layer.pair for name, layer in merged.items()}
    return adapters[0].with_pairs(factors, rest), rows
