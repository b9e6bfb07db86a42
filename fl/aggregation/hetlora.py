"""HetLoRA: zero-pad, weigh by the size of the update, truncate on send (Cho et al.,
arXiv 2401.06432)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from fl.aggregation.components import LayerComponents, MergedLayer, Pair, double, mix
from fl.aggregation.grams import product_error
from fl.aggregation.method import LORA, NEEDS_FACTORS, Contract, Exchange
from fl.aggregation.reference_norms import Yardstick, averaged, is_settled, merge_each
from fl.record import Record

BIASED = "its norm weights depend on the outcome, so no 1/q weight makes them unbiased"
CONTRACT = Contract(
    exactness="approximate",
    small_clients="truncated",
    continues_from="prefix",
    is_truncated_on_send=True,
    cannot={
        "asynchrony": "a start version has a negative weight, and norm weights have "
        "no meaning for it",
        "independent-sampling": BIASED,
        "secure-aggregation": NEEDS_FACTORS,
    },
)


class HetLora(Record):
    """Average zero-padded factors with weights ``w_i ||B_i A_i||``, normalised.

    Equal ``w_i`` give the paper's sparsity weights; its pruning of ranks at the
    clients is not here. Clients of smaller rank get the first columns and rows and lose
    the rest. Traffic: r_u (m + n) numbers each way.
    """

    kind: Literal["hetlora"] = "hetlora"

    @property
    def contract(self) -> Contract:
        return CONTRACT

    def exchange(self, round_index: int) -> Exchange:
        return LORA

    def merge(self, layers: Mapping[str, LayerComponents]) -> dict[str, MergedLayer]:
        return merge_each(layers, self._merge_one)

    def _merge_one(self, layer: LayerComponents, size: Yardstick) -> MergedLayer:
        if is_settled(layer, size):
            return averaged(layer, size)
        if min(layer.weights) < 0:
            raise ValueError(f"hetlora needs weights >= 0: {BIASED}")
        weights = norm_weights(layer)
        pair = mix(layer, weights, weights)
        # before the rounding to the components' dtype, like every error
        error = product_error(layer, [mix(layer.double(), weights, weights)])
        return MergedLayer(pair, size.diagnostics(error * size.norm))


def norm_weights(layer: LayerComponents) -> list[float]:
    """Return the weights in proportion to ``w_i ||B_i A_i||``."""
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
