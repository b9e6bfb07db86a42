"""FedSVD: train B only, and re-factor after every merge (Lee et al., arXiv
2505.12805)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from fl.aggregation.components import (
    LayerComponents,
    MergedLayer,
    Pair,
    double,
    like,
    weighted_mean,
)
from fl.aggregation.method import NEW_GAUGE, ONE_RANK, Contract, Exchange
from fl.aggregation.reference_norms import Yardstick, merge_each
from fl.aggregation.shared_factor import require_shared
from fl.aggregation.spectral import exact_spectrum
from fl.record import Record

CONTRACT = Contract(
    exactness="exact",
    cannot={
        "unequal-ranks": ONE_RANK,
        "asynchrony": "every version has its own A, and only components of one A merge",
        "server-optimiser": NEW_GAUGE,
    },
)
EXCHANGE = Exchange(trains=("B",), sends=("B",), receives=("B", "A"))


class FedSVD(Record):
    """Average B over the common A, factor ``Bbar A = U S V^T``, and send ``B = U S``
    with the orthonormal ``A = V^T``; exact.

    The previous-global component is the re-factored pair that clients were sent.
    Traffic: r m numbers up, r (m + n) down.
    """

    kind: Literal["fedsvd"] = "fedsvd"

    @property
    def contract(self) -> Contract:
        return CONTRACT

    def exchange(self, round_index: int) -> Exchange:
        return EXCHANGE

    def merge(self, layers: Mapping[str, LayerComponents]) -> dict[str, MergedLayer]:
        return merge_each(layers, self._merge_one)

    def _merge_one(self, layer: LayerComponents, size: Yardstick) -> MergedLayer:
        require_shared(layer, "A", self.kind)
        pairs = [double(pair) for pair in layer.pairs]
        mean_b = weighted_mean([pair.lora_b for pair in pairs], layer.weights)
        spectrum = exact_spectrum(Pair(mean_b, pairs[0].lora_a))
        pair = spectrum.section(0, layer.rank)
        return MergedLayer(like(pair, layer), size.diagnostics(size.gap))
