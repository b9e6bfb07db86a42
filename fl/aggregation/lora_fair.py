"""LoRA-FAIR: average, then correct B towards the ideal product (Bian et al., arXiv
2411.14961)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from fl.aggregation.components import LayerComponents, MergedLayer, Pair, like
from fl.aggregation.method import LORA, NEEDS_FACTORS, ONE_RANK, Contract, Exchange
from fl.aggregation.reference_norms import (
    Centred,
    Yardstick,
    averaged,
    is_settled,
    merge_each,
)
from fl.record import Record

CONTRACT = Contract(
    exactness="approximate",
    cannot={"unequal-ranks": ONE_RANK, "secure-aggregation": NEEDS_FACTORS},
)


class LoraFair(Record):
    """Average the factors, then add the ``dB`` that minimises
    ``||W* - (Bbar + dB) Abar||^2 + lambda ||dB||^2``; never worse than the average.

    The paper fits by gradient steps on a cosine; this is the least-squares optimum in
    closed form, with lambda in units of the mean squared row of Abar. One-sided: A
    stays the average. Traffic: r (m + n) numbers each way.
    """

    kind: Literal["lora-fair"] = "lora-fair"
    penalty: float = Field(default=0.01, gt=0, allow_inf_nan=False)

    @property
    def contract(self) -> Contract:
        return CONTRACT

    def exchange(self, round_index: int) -> Exchange:
        return LORA

    def merge(self, layers: Mapping[str, LayerComponents]) -> dict[str, MergedLayer]:
        return merge_each(layers, self._merge_one)

    def _merge_one(self, layer: LayerComponents, size: Yardstick) -> MergedLayer:
        import torch

        if is_settled(layer, size):
            return averaged(layer, size)
        parts = Centred.of(layer)
        mean_b, mean_a = parts.mean
        gram = mean_a @ mean_a.T
        eye = torch.eye(len(gram), dtype=gram.dtype)
        ridge = self.penalty * gram.diagonal().mean() * eye
        slope = parts.drift.lora_b @ (parts.drift.lora_a @ mean_a.T)
        correction = torch.linalg.solve_ex(gram + ridge, slope, left=False).result
        error = parts.distance(size.gap, Pair(correction, mean_a))
        if not error <= size.gap:  # an averaged A of zero, or round-off
            return averaged(layer, size)
        pair = Pair(mean_b + correction, mean_a)
        return MergedLayer(like(pair, layer), size.diagnostics(error))
