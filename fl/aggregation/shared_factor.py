"""Averaging over one common factor, which is exact."""

from __future__ import annotations

from typing import Literal

from fl.aggregation.components import LayerComponents, Pair, weighted_mean


def shares(layer: LayerComponents, factor: Literal["A", "B"]) -> bool:
    """Return whether all components have this factor, bit for bit."""
    import torch

    factors = [pair.lora_a if factor == "A" else pair.lora_b for pair in layer.pairs]
    return all(torch.equal(factors[0], other) for other in factors[1:])


def require_shared(
    layer: LayerComponents, factor: Literal["A", "B"], kind: str
) -> None:
    """Raise ``ValueError`` unless all components have this factor in common."""
    if not shares(layer, factor):
        raise ValueError(
            f"{kind} merges components with one common {factor}, and these differ; "
            f"freeze {factor} in local training and merge only clients that started "
            "from the same version"
        )


def mean_of_b(layer: LayerComponents, kind: str) -> Pair:
    """Return the weighted mean of B over the common A, which is required."""
    require_shared(layer, "A", kind)
    mean_b = weighted_mean([pair.lora_b for pair in layer.pairs], layer.weights)
    return Pair(mean_b, layer.pairs[0].lora_a)
