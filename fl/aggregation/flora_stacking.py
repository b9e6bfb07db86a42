"""FLoRA: stack the clients' factors and fold the stack into the base (Wang et al.,
arXiv 2409.05976)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from fl.aggregation.components import LayerComponents, MergedLayer, Pair, like
from fl.aggregation.method import (
    FOLDS,
    NEEDS_FACTORS,
    NO_STEP,
    Contract,
    Exchange,
)
from fl.aggregation.reference_norms import Yardstick, merge_each
from fl.aggregation.restart import restarted
from fl.aggregation.spectral import stack
from fl.record import Record

CONTRACT = Contract(
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
EXCHANGE = Exchange(trains=("B", "A"), sends=("B", "A"), receives=())


class FloraStacking(Record):
    """Fold ``[B_1 ..] [w_1 A_1; ..]`` into W0 and restart the adapters; exact.

    Components whose B is zero, as that of the restarted global adapter, are left out.
    The restart is B = 0 with the averaged A, which a client can add up from the stack;
    the paper draws A afresh. Traffic: r_u (m + n) numbers up, sum r_u (m + n) down.
    """

    kind: Literal["flora-stacking"] = "flora-stacking"

    @property
    def contract(self) -> Contract:
        return CONTRACT

    def exchange(self, round_index: int) -> Exchange:
        return EXCHANGE

    def merge(self, layers: Mapping[str, LayerComponents]) -> dict[str, MergedLayer]:
        return merge_each(layers, folded_whole)


def folded_whole(layer: LayerComponents, size: Yardstick) -> MergedLayer:
    """Return a restarted pair, with all of ``W*`` to be folded into the base."""
    fold = stacked(layer)
    exact = size.diagnostics(0.0)
    return MergedLayer(restarted(layer), exact, fold and like(fold, layer))


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
    # With the roles of B and A swapped, the weights come to stand with A.
    swapped = [Pair(pair.lora_a.T, pair.lora_b.T) for pair in pairs]
    turned = stack(swapped, weights)
    return Pair(turned.lora_a.T, turned.lora_b.T)
