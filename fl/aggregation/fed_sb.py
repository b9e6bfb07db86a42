"""Fed-SB: train an r x r core between fixed bases (Singhal et al., arXiv
2502.15436)."""

from __future__ import annotations

from typing import ClassVar, Literal

from fl.aggregation.components import LayerComponents, MergedLayer
from fl.aggregation.layerwise import LayerwiseMethod
from fl.aggregation.method import ONE_RANK, Contract, Exchange
from fl.aggregation.reference_norms import ReferenceNorms
from fl.aggregation.shared_factor import mean_of_b


class FedSB(LayerwiseMethod):
    """Average the cores R of ``W = W0 + s B R A`` over fixed, common B and A; exact,
    because the product is linear in R.

    A component is the pair ``(B R_i, A)``; averaging it averages the cores. Traffic:
    r^2 numbers each way; the bases are known from the start.

    The paper takes the bases and the first R from the SVD of a first full gradient.
    Ours are a B of orthonormal columns drawn from the seed and the adapter's own A,
    with R = 0: no client need send a full gradient, and only cores ever travel.
    Directions that the paper would choose from the data are left to chance, so early
    rounds may learn more slowly than its own.
    """

    kind: Literal["fed-sb"] = "fed-sb"
    contract: ClassVar = Contract(
        exactness="exact",
        cannot={
            "sketches": "a core has no columns or rows that belong to one rank unit",
            "unequal-ranks": ONE_RANK,
        },
    )
    exchanged: ClassVar = Exchange(
        trains=("core",), sends=("core",), receives=("core",)
    )

    def merge_layer(self, layer: LayerComponents, norms: ReferenceNorms) -> MergedLayer:
        pair = mean_of_b(layer, self.kind)
        return MergedLayer(pair, norms.diagnostics(norms.gap))
