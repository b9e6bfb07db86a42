"""FedIT: average B and average A (Zhang et al., arXiv 2305.05644)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from fl.aggregation.components import LayerComponents, MergedLayer, mix
from fl.aggregation.grams import batches, merged_layer, relative, stack_grams
from fl.record import Record


class FedIT(Record):
    """Average the factors; misses ``W*`` by the clients' covariance, exact to first
    order in their drift."""

    kind: Literal["fedit"] = "fedit"

    def merge(self, layers: Mapping[str, LayerComponents]) -> dict[str, MergedLayer]:
        merged = {}
        for names in batches(layers):
            grams = stack_grams([layers[name] for name in names])
            gap = grams.squared_norm(grams.average_gap())
            errors = relative(gap, grams.squared_norm(grams.ideal())).tolist()
            for name, error in zip(names, errors, strict=True):
                layer = layers[name]
                pair = mix(layer, layer.weights, layer.weights)
                merged[name] = merged_layer(layer, pair, error, error)
        return {name: merged[name] for name in layers}
