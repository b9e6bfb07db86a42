"""FedEx-LoRA: average, and fold the averaging gap into the base (Singhal et al., arXiv
2410.09432)."""

from __future__ import annotations

from typing import ClassVar, Literal

from fl.aggregation.components import LayerComponents, MergedLayer, Pair, like
from fl.aggregation.grams import centred
from fl.aggregation.layerwise import LayerwiseMethod, averaged, is_average_exact
from fl.aggregation.method import FOLDS, NEEDS_FACTORS, NO_STEP, ONE_RANK, Contract
from fl.aggregation.reference_norms import ReferenceNorms
from fl.aggregation.spectral import NEGLIGIBLE


class FedExLora(LayerwiseMethod):
    """Average the factors and add ``s (W* - Bbar Abar)`` to W0; exact.

    The gap of U components has rank (U - 1) r at most. It is sent as factors of that
    rank, or densely if that is shorter. Traffic: r (m + n) numbers up,
    r (m + n) + min(m n, (U - 1) r (m + n)) down.
    """

    kind: Literal["fedex-lora"] = "fedex-lora"
    contract: ClassVar = Contract(
        exactness="exact",
        is_folding=True,
        cannot={
            "unequal-ranks": ONE_RANK,
            "asynchrony": FOLDS,
            "secure-aggregation": NEEDS_FACTORS,
            "server-optimiser": NO_STEP,
        },
    )

    def merge_layer(self, layer: LayerComponents, norms: ReferenceNorms) -> MergedLayer:
        average = averaged(layer, norms)
        if is_average_exact(layer, norms) or norms.gap <= NEGLIGIBLE * norms.norm:
            return average
        fold = like(averaging_gap(layer), layer)
        return MergedLayer(average.pair, norms.diagnostics(0.0), fold)


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
