"""FedEx-LoRA: average, and fold what averaging misses into the base (Singhal et al.,
arXiv 2410.09432)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from fl.aggregation.components import LayerComponents, MergedLayer, Pair, like
from fl.aggregation.grams import centred
from fl.aggregation.method import (
    FOLDS,
    LORA,
    NEEDS_FACTORS,
    NO_STEP,
    ONE_RANK,
    Contract,
    Exchange,
)
from fl.aggregation.reference_norms import Yardstick, averaged, is_settled, merge_each
from fl.aggregation.spectral import NEGLIGIBLE
from fl.record import Record

CONTRACT = Contract(
    exactness="exact",
    is_folding=True,
    cannot={
        "unequal-ranks": ONE_RANK,
        "asynchrony": FOLDS,
        "secure-aggregation": NEEDS_FACTORS,
        "server-optimiser": NO_STEP,
    },
)


class FedExLora(Record):
    """Average the factors and add ``s (W* - Bbar Abar)`` to W0; exact.

    The gap has rank (U - 1) r at most, U counting components, and is sent as factors
    of that rank or densely. Traffic: r (m + n) numbers up, and down
    r (m + n) + min(m n, (U - 1) r (m + n)).
    """

    kind: Literal["fedex-lora"] = "fedex-lora"

    @property
    def contract(self) -> Contract:
        return CONTRACT

    def exchange(self, round_index: int) -> Exchange:
        return LORA

    def merge(self, layers: Mapping[str, LayerComponents]) -> dict[str, MergedLayer]:
        return merge_each(layers, self._merge_one)

    def _merge_one(self, layer: LayerComponents, size: Yardstick) -> MergedLayer:
        if is_settled(layer, size) or size.gap <= NEGLIGIBLE * size.norm:
            return averaged(layer, size)
        pair = averaged(layer, size).pair
        return MergedLayer(
            pair, size.diagnostics(0.0), like(averaging_gap(layer), layer)
        )


def averaging_gap(layer: LayerComponents) -> Pair:
    """Return ``sum w_i (B_i - Bbar)(A_i - Abar)`` at rank (U - 1) r.

    Since ``sum w_i (B_i - Bbar) = 0``, the last A may be taken from all others.
    """
    import torch

    left, right = centred(layer)
    weights = torch.tensor(layer.weights[:-1], dtype=torch.float64)
    lora_b = left[1:-1] * weights[:, None, None]
    lora_a = right[1:-1] - right[-1]
    return Pair(lora_b.flatten(0, 1).T, lora_a.flatten(0, 1))
