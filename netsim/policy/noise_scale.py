"""The constants of a plan from rounds that train: the ratio of the surrogate by the
gradient's noise scale, and the exponent of ranks (METHOD.md 9a).

The noise scale is McCandlish's (arXiv 1812.06162), for the sampling of clients in place
of samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from netsim.policy.pilots import Update
from netsim.policy.sampler import FloatArray
from netsim.policy.surrogate import Exponent, Surrogate

PRIOR_RATIO: Final = 0.5
PRIOR_MERGES: Final = 4.0  # as many merges as the prior counts for
WINDOW: Final = 20  # merges that are pooled
RATIO_RANGE: Final = (0.02, 3.0)
STEP_RANGE: Final = (0.25, 4.0)
NUM_SWEEPS: Final = 200  # of clients and rounds, each given the other
NAN: Final = float("nan")


class RoundMoments(NamedTuple):
    """Unbiased estimates from one round: the squared norm of the change that full
    participation would have made, and ``sum a_n^2 ||Delta_n||^2``."""

    mean2: float
    spread2: float


class Estimated(NamedTuple):
    """A constant and its standard error, NaN where too little is known of it."""

    value: float
    error: float

    @property
    def is_certain(self) -> bool:
        """Return whether the error is below the value."""
        return bool(self.error < self.value)


def round_moments(
    merge_weights: FloatArray,
    data_weights: FloatArray,
    probabilities: FloatArray,
    norms2: FloatArray,
    sum_norm2: float,
) -> RoundMoments:
    """Return the moments of a round of independent draws, arrays by client merged.

    ``merge_weights`` are ``a_n / q_n``, ``sum_norm2`` is the squared norm of the sum of
    changes with these weights: its mean is that of full participation and ``sum a_n^2
    (1 - q_n) / q_n ||Delta_n||^2``, which is taken off.
    """
    excess = float(np.sum(merge_weights**2 * (1 - probabilities) * norms2))
    spread2 = float(np.sum(data_weights**2 / probabilities * norms2))
    return RoundMoments(sum_norm2 - excess, spread2)


def pooled_ratio(
    moments: Sequence[RoundMoments],
    data_weights: FloatArray,
    *,
    prior: float = PRIOR_RATIO,
) -> Estimated:
    """Return ``beta / alpha`` with every ``G_n`` one, ``sum a_n^2 (g2 / S - 1)``, from
    the last merges and a prior that counts as a few of them.

    The error is that of a quotient of sums over rounds, by the deviations of the rounds
    from it.
    """
    full = float(np.sum(data_weights**2))
    last = np.array(moments[-WINDOW:], dtype=float).reshape(-1, 2)
    mean2, spread2 = last.T
    if not spread2.sum() > 0:
        return Estimated(prior, NAN)
    prior_spread2 = PRIOR_MERGES * float(spread2.mean())
    total = float(spread2.sum()) + prior_spread2
    quotient = (float(mean2.sum()) + prior_spread2 * (1 + prior / full)) / total
    value = float(np.clip(full * (quotient - 1), *RATIO_RANGE))
    num = len(last)
    if num < 2:
        return Estimated(value, NAN)
    away = mean2 - float(mean2.sum() / spread2.sum()) * spread2
    spread = float(np.sum(away**2) * num / (num - 1)) ** 0.5
    return Estimated(value, full * spread / total)


def step_factor(law: Surrogate, variance: float, tuned: float) -> float:
    """Return the factor on the server's step for a plan's variance, where the learning
    rate was chosen at another variance, ``tuned``.

    The best step is ``1 / (1 + V / g2)`` of that without sampling (McCandlish), and the
    rounds of the law grow as ``1 + V / g2``: the factor is their quotient.
    """
    low, high = STEP_RANGE
    return min(max(law.rounds(tuned) / law.rounds(variance), low), high)


def rank_exponent(updates: Sequence[Update]) -> Exponent:
    """Return the ``nu`` with which squared norms grow as ``(r / k)^nu``, from rounds of
    mixed ranks; NaN where no client was seen at two ranks.

    ``norm2 = (r / k)^nu G_n^2 s_t`` is fitted in logarithms: what clients and rounds
    have in common is taken off both sides in turn.
    """
    seen = [update for update in updates if update.norm2 > 0]
    if not seen:
        return Exponent(NAN, NAN)
    clients = np.unique([one.client_id for one in seen], return_inverse=True)[1]
    rounds = np.unique([one.round_id for one in seen], return_inverse=True)[1]
    x = _residual(np.log([one.rank_ratio for one in seen]), clients, rounds)
    y = _residual(np.log([one.norm2 for one in seen]), clients, rounds)
    squares = float(x @ x)
    if not squares > 1e-9:
        return Exponent(NAN, NAN)
    nu = float(x @ y) / squares
    num_free = len(seen) - len(set(clients)) - len(set(rounds))  # nu and one overlap
    if num_free < 1:
        return Exponent(nu, NAN)
    return Exponent(nu, (float(np.sum((y - nu * x) ** 2)) / num_free / squares) ** 0.5)


def _residual(
    values: FloatArray, clients: NDArray[np.intp], rounds: NDArray[np.intp]
) -> FloatArray:
    """Return values without the means of clients and rounds."""
    for _ in range(NUM_SWEEPS):
        before = values
        for groups in (clients, rounds):
            means = np.bincount(groups, values) / np.bincount(groups)
            values = values - means[groups]
        if np.abs(values - before).max() <= 1e-12:
            break
    return values
