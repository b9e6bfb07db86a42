"""DoRA under federated averaging: factors by any merge, magnitudes by a guarded mean.

DoRA (Liu et al., arXiv 2402.09353) gives each output row of ``W0 + s B A`` a trained
length. Lengths are averaged with the components' weights, which is not the exact
average model even with an exact ``W*``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fl.aggregation.components import weighted_mean

if TYPE_CHECKING:
    from torch import Tensor

SMALLEST_SHARE = 0.1  # of the shortest length among the components


def merged_magnitudes(magnitudes: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Return the weighted mean of the lengths, never near zero or below.

    With 1/q weights the mean extrapolates, and a length that changed sign would turn
    its row around: each stays at least a tenth of the shortest one met. Weights sum to
    one; lengths are positive.
    """
    import torch

    floor = SMALLEST_SHARE * torch.stack(list(magnitudes)).amin(0)
    return torch.maximum(weighted_mean(magnitudes, weights), floor)
