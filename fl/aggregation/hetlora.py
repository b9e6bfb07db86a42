"""HetLoRA: zero-pad, weight by the norm of the update, truncate on send (Cho et al.,
arXiv 2401.06432)."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from fl.aggregation.components import LayerComponents, MergedLayer, Pair, double, mix
from fl.aggregation.grams import product_error
from fl.aggregation.layerwise import LayerwiseMethod, averaged, is_average_exact
from fl.aggregation.method import NEEDS_FACTORS, Contract
from fl.aggregation.reference_norms import ReferenceNorms

BIASED = "its norm weights depend on the outcome, so no 1/q weight makes them unbiased"


class HetLora(LayerwiseMethod):
    """Average zero-padded factors with weights ``w_i ||B_i A_i||``, normalised.

    With equal ``w_i`` these are the paper's sparsity weights. The paper's rank pruning
    at the clients is not implemented. A client of smaller rank gets the first columns
    and rows and loses the others. Traffic: r_u (m + n) numbers each way.
    """

    kind: Literal["hetlora"] = "hetlora"

    contract: ClassVar = Contract(
        exactness="approximate",
        small_clients="truncated",
        continues_from="prefix",
        is_truncated_on_send=True,
        cannot={
            "asynchrony": "a start version has a negative weight, and norm weights "
            "have no meaning for it",
            "independent-sampling": BIASED,
            "secure-aggregation": NEEDS_FACTORS,
        },
    )

    def merge_layer(self, layer: LayerComponents, norms: ReferenceNorms) -> MergedLayer:
        if is_average_exact(layer, norms):
            return averaged(layer, norms)
        if min(layer.weights) < 0:
            raise ValueError(f"hetlora needs weights >= 0: {BIASED}")
        weights = norm_weights(layer)
        pair = mix(layer, weights, weights)
        error = product_error(layer, [mix(layer.double(), weights, weights)])
        return MergedLayer(pair, norms.diagnostics(error * norms.norm))


def norm_weights(layer: LayerComponents) -> list[float]:
    """Return the weights ``w_i ||B_i A_i||``, normalised to sum to one."""
    sizes = [
        weight * product_norm(double(pair))
        for pair, weight in zip(layer.pairs, layer.weights, strict=True)
    ]
    total = math.fsum(sizes)
    return [size / total for size in sizes]


def product_norm(pair: Pair) -> float:
    """Return ``||B A||_F`` from r x r matrices."""
    gram = (pair.lora_b.T @ pair.lora_b) * (pair.lora_a @ pair.lora_a.T)
    return float(gram.sum().clamp(min=0).sqrt())
