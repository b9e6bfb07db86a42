"""HiRA under federated merging: ``dW = W0 o (B A)``, entry by entry (Huang et al.,
"HiRA: Parameter-Efficient Hadamard High-Rank Adaptation", ICLR 2025).

The mask W0 is the same for all, so ``W0 o W*`` is the ideal change and a pair that
meets W* meets it: every merge works unchanged. Where a pair misses W*, ours minimises
the unweighted norm, a stated choice: the Gram forms know of factors alone, and entries
weighted by W0 have none, so a weighted solve would form dense matrices in every layer
and round. ``masked_error`` gives the weighted error of any pair, to see the cost. The
mask stays the original W0 when a fold has changed the base.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fl.aggregation.components import LayerComponents, Pair, double
from fl.aggregation.spectral import ideal_stack

if TYPE_CHECKING:
    from torch import Tensor


def masked_error(
    layer: LayerComponents, products: Sequence[Pair], mask: Tensor
) -> float:
    """Return ``||W0 o (W* - sum of products)|| / ||W0 o W*||``, by dense matrices."""
    ideal = ideal_stack(layer)
    target = ideal.lora_b @ ideal.lora_a
    missing = target.clone()
    for lora_b, lora_a in map(double, products):
        missing -= lora_b @ lora_a
    weight = mask.detach().to("cpu").double()
    return float((weight * missing).norm() / (weight * target).norm())
