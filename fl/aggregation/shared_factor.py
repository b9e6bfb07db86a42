"""The condition under which averaging is exact: one factor is everybody's."""

from __future__ import annotations

from typing import Literal

from fl.aggregation.components import LayerComponents


def shares(layer: LayerComponents, factor: Literal["A", "B"]) -> bool:
    """Return whether all components have this factor, bit for bit."""
    import torch

    factors = [pair.lora_a if factor == "A" else pair.lora_b for pair in layer.pairs]
    return all(torch.equal(factors[0], other) for other in factors[1:])


def require_shared(
    layer: LayerComponents, factor: Literal["A", "B"], kind: str
) -> None:
    """Refuse components that were trained from different values of this factor."""
    if not shares(layer, factor):
        raise ValueError(
            f"{kind} merges components with one common {factor}, and these differ; "
            f"freeze {factor} in local training and merge only clients that started "
            "from the same version"
        )
