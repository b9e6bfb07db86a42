"""LoRA-FAIR: average, then correct B towards the ideal product (Bian et al., arXiv
2411.14961)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from fl.aggregation.components import LayerComponents, MergedLayer, Pair, like
from fl.aggregation.layerwise import LayerwiseMethod, averaged, is_average_exact
from fl.aggregation.method import NEEDS_FACTORS, ONE_RANK, Contract
from fl.aggregation.reference_norms import Centred, ReferenceNorms


class LoraFair(LayerwiseMethod):
    """Average the factors, then add the ``dB`` that minimises
    ``||W* - (Bbar + dB) Abar||^2 + lambda ||dB||^2``; never worse than the average.

    The paper takes gradient steps on a cosine similarity; this is the least-squares
    optimum in closed form. Lambda is in units of the mean squared row norm of Abar. A
    stays the average. Traffic: r (m + n) numbers each way.
    """

    kind: Literal["lora-fair"] = "lora-fair"
    penalty: float = Field(default=0.01, gt=0, allow_inf_nan=False)

    contract: ClassVar = Contract(
        exactness="approximate",
        cannot={"unequal-ranks": ONE_RANK, "secure-aggregation": NEEDS_FACTORS},
    )

    def merge_layer(self, layer: LayerComponents, norms: ReferenceNorms) -> MergedLayer:
        import torch

        if is_average_exact(layer, norms):
            return averaged(layer, norms)
        parts = Centred.of(layer)
        mean_b, mean_a = parts.mean
        gram = mean_a @ mean_a.T
        eye = torch.eye(len(gram), dtype=gram.dtype)
        ridge = self.penalty * gram.diagonal().mean() * eye
        slope = parts.drift.lora_b @ (parts.drift.lora_a @ mean_a.T)
        correction = torch.linalg.solve_ex(gram + ridge, slope, left=False).result
        error = parts.distance(norms.gap, Pair(correction, mean_a))
        if not error <= norms.gap:  # an averaged A of zero, or round-off
            return averaged(layer, norms)
        pair = Pair(mean_b + correction, mean_a)
        return MergedLayer(like(pair, layer), norms.diagnostics(error))
