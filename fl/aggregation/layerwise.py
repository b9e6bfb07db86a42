"""What most methods share: every matrix is merged on its own, over both factors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from fl.aggregation.components import LayerComponents, MergedLayer, mix
from fl.aggregation.method import LORA, Exchange
from fl.aggregation.reference_norms import ReferenceNorms, reference_norms
from fl.record import Record


class LayerwiseMethod(Record):
    """A method that merges one matrix at a time; as it stands, by the plain average,
    which also merges a matrix whose numbers are not finite.

    A subclass adds its ``kind`` and ``contract``, and overrides what differs.
    """

    exchanged: ClassVar[Exchange] = LORA

    def exchange(self, round_index: int) -> Exchange:
        return self.exchanged

    def merge(self, layers: Mapping[str, LayerComponents]) -> dict[str, MergedLayer]:
        norms = reference_norms(layers)
        return {
            name: self.merge_layer(layer, norms[name])
            if norms[name].norm < float("inf")
            else averaged(layer, norms[name])
            for name, layer in layers.items()
        }

    def merge_layer(self, layer: LayerComponents, norms: ReferenceNorms) -> MergedLayer:
        """Return the merge of one matrix whose numbers are finite."""
        return averaged(layer, norms)


def averaged(
    layer: LayerComponents,
    norms: ReferenceNorms,
    spreads: tuple[float, float] | None = None,
) -> MergedLayer:
    """Return the plain average of the factors."""
    pair = mix(layer, layer.weights, layer.weights)
    return MergedLayer(pair, norms.diagnostics(norms.gap, spreads))


def is_average_exact(layer: LayerComponents, norms: ReferenceNorms) -> bool:
    """Return whether the average is exact: one component, or a product of zero."""
    return len(layer.pairs) == 1 or (norms.norm == 0 and norms.gap == 0)
