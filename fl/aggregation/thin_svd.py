"""Thin SVD: the best rank-r pair there is, of small matrices (METHOD.md 11.2, ours).

QR of the stacked factors and the SVD of their core; randomised for tall stacks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from fl.aggregation.components import LayerComponents, MergedLayer, double, like, mix
from fl.aggregation.gauge import ORDERED, Gauge, regauged
from fl.aggregation.method import (
    LORA,
    NEEDS_FACTORS,
    NEW_GAUGE,
    Ability,
    Contract,
    Exchange,
)
from fl.aggregation.reference_norms import Yardstick, averaged, is_settled, merge_each
from fl.aggregation.spectral import (
    Spectrum,
    balanced,
    exact_spectrum,
    ideal_stack,
    leading_spectrum,
)
from fl.record import Record

UNORDERED = (
    "a prefix is the best of its rank only where directions come by size; use gauge "
    "'balanced'"
)


class ThinSVD(Record):
    """Send the best rank-r approximation of ``W*``; no pair of this rank is nearer.

    Also the optimum of mixing every client's factors with r x r matrices. Clients of
    smaller rank get their prefix, the best of that rank. Traffic: r_u (m + n) numbers
    each way.
    """

    kind: Literal["thin-svd"] = "thin-svd"
    gauge: Literal["scale-matched", "balanced", "procrustes", "hadamard"] = "balanced"
    randomised_above: int = Field(default=512, ge=1)  # columns of the stack

    @property
    def contract(self) -> Contract:
        return spectral_contract(
            "best-rank", self.gauge, keeps_coordinates=self.gauge == "procrustes"
        )

    def exchange(self, round_index: int) -> Exchange:
        return LORA

    def merge(self, layers: Mapping[str, LayerComponents]) -> dict[str, MergedLayer]:
        return merge_each(layers, self._merge_one)

    def _merge_one(self, layer: LayerComponents, size: Yardstick) -> MergedLayer:
        if is_settled(layer, size):
            return averaged(layer, size)
        exact = layer.double()
        average = mix(exact, exact.weights, exact.weights)
        spectrum = self.spectrum(exact, size)
        error = spectrum.tail(layer.rank)
        pair = balanced(spectrum, layer.rank, average)
        if error > size.gap:  # by round-off, or a coarse randomised basis
            error, pair = size.gap, average
        previous = exact.previous and double(exact.padded_previous())
        pair = regauged(pair, self.gauge, average=average, previous=previous)
        return MergedLayer(like(pair, layer), size.diagnostics(error))

    def spectrum(self, layer: LayerComponents, size: Yardstick) -> Spectrum:
        """Return the directions of W*: all, or the leading ones of a tall stack."""
        product = ideal_stack(layer)
        if product.lora_a.shape[0] <= self.randomised_above:
            return exact_spectrum(product)
        return leading_spectrum(product, layer.rank, size.norm)


def spectral_contract(
    exactness: Literal["best-rank", "approximate"],
    gauge: Gauge,
    *,
    keeps_coordinates: bool,
) -> Contract:
    """Return the contract of a method that takes unequal ranks and offers gauges."""
    cannot: dict[Ability, str] = {"secure-aggregation": NEEDS_FACTORS}
    is_ordered = gauge in ORDERED
    if not is_ordered:
        cannot["unequal-ranks"] = UNORDERED
    if not keeps_coordinates:
        cannot["server-optimiser"] = NEW_GAUGE
    return Contract(
        exactness=exactness,
        continues_from="prefix" if is_ordered else "pair",
        is_truncated_on_send=is_ordered,
        cannot=cannot,
    )
