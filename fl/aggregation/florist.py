"""FLoRIST: keep the singular directions that hold enough energy (Ramesh and Dass,
arXiv 2506.09199)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from fl.aggregation.components import LayerComponents, MergedLayer, like, mix
from fl.aggregation.layerwise import LayerwiseMethod, averaged, is_average_exact
from fl.aggregation.method import NEEDS_FACTORS, NEW_GAUGE, Contract
from fl.aggregation.reference_norms import ReferenceNorms
from fl.aggregation.spectral import balanced, exact_spectrum, ideal_stack


class Florist(LayerwiseMethod):
    """Send all clients the SVD of ``W*`` at the smallest rank r_tau that keeps this
    share of ``||W*||^2``, in the balanced gauge.

    Each round has its own rank, above or below the clients' ranks. A client pads the
    pair or takes its prefix, and loses what lies beyond. Traffic: r_u (m + n) numbers
    up, r_tau (m + n) down.
    """

    kind: Literal["florist"] = "florist"
    energy: float = Field(default=0.99, gt=0, le=1)
    contract: ClassVar = Contract(
        exactness="best-rank",
        small_clients="truncated",
        continues_from="prefix",
        has_own_rank=True,
        cannot={"secure-aggregation": NEEDS_FACTORS, "server-optimiser": NEW_GAUGE},
    )

    def merge_layer(self, layer: LayerComponents, norms: ReferenceNorms) -> MergedLayer:
        if is_average_exact(layer, norms):
            return averaged(layer, norms)
        exact = layer.double()
        spectrum = exact_spectrum(ideal_stack(exact))
        rank = spectrum.smallest_rank(self.energy)
        average = mix(exact, exact.weights, exact.weights)
        pair = balanced(spectrum, rank, average)
        return MergedLayer(like(pair, layer), norms.diagnostics(spectrum.tail(rank)))
