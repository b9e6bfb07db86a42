"""Sampling probabilities that studies compare against, as functions of plain arrays.

Every score is turned into probabilities that add up to a wanted expected number, none
above one and none below a floor; ``a_n / w_max`` as the floor keeps every unbiased
weight ``a_n / q_n`` within ``w_max``.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from netsim.errors import InputError
from netsim.policy.sampler import FloatArray

MAX_STEPS: Final = 200  # Newton needs a few, the bisection that guards it up to this
TOLERANCE: Final = 1e-13


def scaled_probabilities(
    scores: FloatArray, num_expected: float, floors: FloatArray | float = 0.0
) -> FloatArray:
    """Return ``q_n = clip(c s_n, floor_n, 1)`` with the ``c`` that makes their sum
    ``num_expected``."""
    lowest = np.broadcast_to(np.asarray(floors, dtype=float), scores.shape)
    _require_reachable(scores, num_expected, lowest)
    most = float(np.count_nonzero(scores > 0) + lowest[~(scores > 0)].sum())
    if num_expected >= most:
        return np.where(scores > 0, 1.0, lowest)
    low, high = 0.0, 1.0 / float(scores[scores > 0].min())
    scale = min(num_expected / float(scores.sum()), high)
    for _ in range(MAX_STEPS):
        clipped = np.clip(scale * scores, lowest, 1.0)
        excess = float(clipped.sum()) - num_expected
        if abs(excess) <= TOLERANCE * num_expected:
            break
        low, high = (low, scale) if excess > 0 else (scale, high)
        slope = float(scores[(clipped > lowest) & (clipped < 1.0)].sum())
        newton = scale - excess / slope if slope else low
        scale = newton if low < newton < high else (low + high) / 2
    return np.asarray(np.clip(scale * scores, lowest, 1.0))


def weight_floors(data_weights: FloatArray, max_weight: float | None) -> FloatArray:
    """Return the least probabilities that keep ``a_n / q_n`` within ``max_weight``."""
    if max_weight is None:
        return np.zeros(len(data_weights))
    largest = float(data_weights.max())
    if max_weight < largest:
        raise InputError(
            f"max_weight must be at least the largest data weight, {largest:.4g}: a "
            f"client that always takes part has that weight; got {max_weight!r}"
        )
    return np.minimum(data_weights / max_weight, 1.0)


def statistics_only(data_weights: FloatArray, norms: FloatArray) -> FloatArray:
    """Return scores ``a_n G_n``, which minimise the variance of the merged update at a
    given expected number (importance sampling; time plays no part)."""
    return data_weights * norms


def system_only(compute_s: FloatArray, upload_s: FloatArray) -> FloatArray:
    """Return scores ``1 / (tau_n + t_n)``: who is quick takes part more often."""
    scores: FloatArray = 1.0 / (compute_s + upload_s)
    return scores


def weighted_draws(
    data_weights: FloatArray, norms: FloatArray, upload_s: FloatArray
) -> FloatArray:
    """Return ``p_n ~ a_n G_n / sqrt(t_n)`` for draws with replacement, which add up to
    one (Luo et al., arXiv 2112.11256)."""
    scores = data_weights * norms / np.sqrt(upload_s)
    shares: FloatArray = scores / scores.sum()
    return shares


def _require_reachable(
    scores: FloatArray, num_expected: float, lowest: FloatArray
) -> None:
    if not np.all(np.isfinite(scores) & (scores >= 0)):
        raise InputError("every score must be finite and not negative")
    num_clients, least = len(scores), float(lowest.sum())
    if not least <= num_expected * (1 + 1e-12) or not 0 < num_expected <= num_clients:
        raise InputError(
            f"the expected number of participants must lie in {least:.4g} (what the "
            f"weight limit demands) to {num_clients}, got {num_expected!r}"
        )
