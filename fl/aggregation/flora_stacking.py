"""FLoRA: stack the clients' factors and fold the stack into the base (Wang et al.,
arXiv 2409.05976)."""

from __future__ import annotations

from typing import ClassVar, Literal

from fl.aggregation.components import (
    LayerComponents,
    MergedLayer,
    Pair,
    like,
    weighted_mean,
)
from fl.aggregation.layerwise import LayerwiseMethod
from fl.aggregation.method import FOLDS, NEEDS_FACTORS, NO_STEP, Contract, Exchange
from fl.aggregation.reference_norms import ReferenceNorms
from fl.aggregation.spectral import stack


class FoldingMethod(LayerwiseMethod):
    """A method that folds all of ``W*`` into the base and restarts the adapters."""

    exchanged: ClassVar = Exchange(trains=("B", "A"), sends=("B", "A"), receives=())

    def merge_layer(self, layer: LayerComponents, norms: ReferenceNorms) -> MergedLayer:
        fold = stacked(layer)
        lora_b, lora_a = zip(*layer.padded(), strict=True)
        mean_a = weighted_mean(lora_a, layer.weights)
        restarted = Pair(lora_b[0].new_zeros(lora_b[0].shape), mean_a)
        exact = norms.diagnostics(0.0)
        return MergedLayer(restarted, exact, fold and like(fold, layer))


class FloraStacking(FoldingMethod):
    """Fold ``[B_1 ..] [w_1 A_1; ..]`` into W0 and restart the adapters; exact.

    Components with B = 0 are left out, such as the restarted global adapter. The
    restart is B = 0 with the averaged A, which clients can compute from the stack; the
    paper draws a new A. Traffic: r_u (m + n) numbers up, sum r_u (m + n) down.
    """

    kind: Literal["flora-stacking"] = "flora-stacking"
    contract: ClassVar = Contract(
        exactness="exact",
        small_clients="truncated",
        continues_from="restart",
        is_folding=True,
        cannot={
            "asynchrony": FOLDS,
            "secure-aggregation": NEEDS_FACTORS,
            "server-optimiser": NO_STEP,
        },
    )


def stacked(layer: LayerComponents) -> Pair | None:
    """Return the stack of the components that are not zero, weights in A, if any."""
    terms = [
        (pair, weight)
        for pair, weight in zip(layer.pairs, layer.weights, strict=True)
        if weight and pair.lora_b.any()
    ]
    if not terms:
        return None
    pairs, weights = zip(*terms, strict=True)
    # ``stack`` scales B: with the roles of B and A swapped, the weights scale A.
    swapped = [Pair(pair.lora_a.T, pair.lora_b.T) for pair in pairs]
    transposed = stack(swapped, weights)
    return Pair(transposed.lora_a.T, transposed.lora_b.T)
