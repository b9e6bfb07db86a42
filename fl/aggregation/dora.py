"""DoRA in federated averaging: the weighted mean of the magnitudes, bounded from below.

DoRA (Liu et al., arXiv 2402.09353) trains the length of each output row of
``W0 + s B A``. The factors are merged by any method. Even where ``W*`` is exact, the
averaged lengths do not give the exact average model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fl.aggregation.components import weighted_mean

if TYPE_CHECKING:
    from torch import Tensor

SMALLEST_SHARE = 0.1  # of the shortest length among the components


def merged_magnitudes(magnitudes: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Return the weighted mean of the row lengths, bounded away from zero.

    ``1/q`` weights extrapolate, and a negative length would flip its row. Each length
    is therefore at least a tenth of the shortest component's.
    """
    import torch

    floor = SMALLEST_SHARE * torch.stack(list(magnitudes)).amin(0)
    return torch.maximum(weighted_mean(magnitudes, weights), floor)
