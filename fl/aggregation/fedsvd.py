"""FedSVD: train B only, and re-factor after every merge (Lee et al., arXiv
2505.12805)."""

from __future__ import annotations

from typing import ClassVar, Literal

from fl.aggregation.components import (
    LayerComponents,
    MergedLayer,
    Pair,
    double,
    like,
    weighted_mean,
)
from fl.aggregation.layerwise import LayerwiseMethod
from fl.aggregation.method import NEW_GAUGE, ONE_RANK, Contract, Exchange
from fl.aggregation.reference_norms import ReferenceNorms
from fl.aggregation.shared_factor import require_shared
from fl.aggregation.spectral import exact_spectrum


class FedSVD(LayerwiseMethod):
    """Average B over the common A, factor ``Bbar A = U S V^T``, and send ``B = U S``
    with the orthonormal ``A = V^T``; exact.

    The component of the previous version is the re-factored pair that clients were
    sent. Traffic: r m numbers up, r (m + n) down.
    """

    kind: Literal["fedsvd"] = "fedsvd"
    contract: ClassVar = Contract(
        exactness="exact",
        cannot={
            "unequal-ranks": ONE_RANK,
            "asynchrony": "every version has its own A, and only components of one A "
            "merge",
            "server-optimiser": NEW_GAUGE,
        },
    )
    exchanged: ClassVar = Exchange(trains=("B",), sends=("B",), receives=("B", "A"))

    def merge_layer(self, layer: LayerComponents, norms: ReferenceNorms) -> MergedLayer:
        require_shared(layer, "A", self.kind)
        pairs = [double(pair) for pair in layer.pairs]
        mean_b = weighted_mean([pair.lora_b for pair in pairs], layer.weights)
        spectrum = exact_spectrum(Pair(mean_b, pairs[0].lora_a))
        pair = spectrum.section(0, layer.rank)
        return MergedLayer(like(pair, layer), norms.diagnostics(norms.gap))
