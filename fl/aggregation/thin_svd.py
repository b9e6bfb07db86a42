"""Thin SVD: the best pair of rank r, computed from small matrices (METHOD.md 11.2,
ours).

QR of the stacked factors and the SVD of their core; randomised for tall stacks.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fl.aggregation.components import LayerComponents, MergedLayer, double, like, mix
from fl.aggregation.gauge import ORDERED, Gauge, regauged
from fl.aggregation.layerwise import LayerwiseMethod, averaged, is_average_exact
from fl.aggregation.method import NEEDS_FACTORS, NEW_GAUGE, Ability, Contract
from fl.aggregation.reference_norms import ReferenceNorms
from fl.aggregation.spectral import (
    Spectrum,
    balanced,
    exact_spectrum,
    ideal_stack,
    leading_spectrum,
)

UNORDERED = (
    "the first directions are the best of their rank only if they are ordered by "
    "singular value; use gauge 'balanced'"
)


class ThinSVD(LayerwiseMethod):
    """Send the best rank-r approximation of ``W*``: no pair of this rank is closer.

    It is also the optimum of mixing each client's factors with r x r matrices. A
    client of smaller rank gets the first directions, the best of its rank. Traffic:
    r_u (m + n) numbers each way.
    """

    kind: Literal["thin-svd"] = "thin-svd"
    gauge: Literal["scale-matched", "balanced", "procrustes", "hadamard"] = "balanced"
    randomised_above: int = Field(default=512, ge=1)  # columns of the stack

    @property
    def contract(self) -> Contract:
        return spectral_contract(
            "best-rank", self.gauge, keeps_coordinates=self.gauge == "procrustes"
        )

    def merge_layer(self, layer: LayerComponents, norms: ReferenceNorms) -> MergedLayer:
        if is_average_exact(layer, norms):
            return averaged(layer, norms)
        exact = layer.double()
        average = mix(exact, exact.weights, exact.weights)
        spectrum = self.spectrum(exact, norms)
        error = spectrum.tail(layer.rank)
        pair = balanced(spectrum, layer.rank, average)
        if error > norms.gap:  # by round-off, or a coarse randomised basis
            error, pair = norms.gap, average
        previous = exact.previous and double(exact.padded_previous())
        pair = regauged(pair, self.gauge, average=average, previous=previous)
        return MergedLayer(like(pair, layer), norms.diagnostics(error))

    def spectrum(self, layer: LayerComponents, norms: ReferenceNorms) -> Spectrum:
        """Return the singular triples of W*, only the leading ones of a tall stack."""
        product = ideal_stack(layer)
        if product.lora_a.shape[0] <= self.randomised_above:
            return exact_spectrum(product)
        return leading_spectrum(product, layer.rank, norms.norm)


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
