"""How many rounds a plan needs: a convergence bound, and the surrogate that is fitted.

Sampling and sketching hurt through second moments, hence the surrogate
``R(q, k) = beta + alpha sum a_n^2 G_n^2 (r / k_n)^nu / q_n``: an empirical law in the
manner of arXiv 2505.23555, whose own theorem we did not have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from netsim.errors import InputError
from netsim.policy.sampler import FloatArray

NU_RANGE: Final = (-5.0, 5.0)  # Adam may be negative, two is the most seen
NUM_BISECTIONS: Final = 100
FULL_ROUNDS: Final = 100.0  # of full participation at full rank, where unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Descent:
    """The constants of a federated descent, for clients ``n`` of data weight ``a_n``.

    ``noise`` is the variance of one mini-batch's gradient and ``sketch_noise`` that
    which the round's sketch adds, one draw for all its steps; ``heterogeneity`` is the
    ``delta_n^2`` by which a client's gradient differs from the mean, ``sketch_ratio``
    the ``r / k_n``.
    """

    data_weights: FloatArray
    noise: FloatArray
    sketch_noise: FloatArray
    heterogeneity: FloatArray
    sketch_ratio: FloatArray
    smoothness: float  # L of every client's loss
    initial_gap: float  # F(x_0) - min F
    step_size: float
    num_local_steps: int


def gradient_bound(
    descent: Descent, probabilities: FloatArray, num_rounds: int
) -> float:
    """Return what the mean of ``E||grad F||^2`` over the rounds cannot exceed, for
    independent sampling and ``et = eta H`` small against ``1 / Lbar``.

    ``4 F0 / (et R) + 4 et Lbar sum a^2 [sigma^2 / q + 3 delta^2 (1 - q) / q]
    + 5 et^2 L^2 sum a s^2 [sigma^2 + 3 delta^2]``, ``Lbar = L sum a s``, ``sigma^2``
    the batches' noise over H and the sketch's undivided (METHOD.md 7; derived here, in
    the manner of arXiv 2501.19389, theorem 1).
    """
    a, q, s = descent.data_weights, probabilities, descent.sketch_ratio
    noise = descent.noise / descent.num_local_steps + descent.sketch_noise
    delta2 = descent.heterogeneity
    et = descent.step_size * descent.num_local_steps
    sampling = np.sum(a**2 * (noise / q + 3 * delta2 * (1 - q) / q))
    drift = np.sum(a * s**2 * (noise + 3 * delta2))
    smooth = descent.smoothness
    return float(
        4 * descent.initial_gap / (et * num_rounds)
        + 4 * et * smooth * np.sum(a * s) * sampling
        + 5 * (et * smooth) ** 2 * drift
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Surrogate:
    """Rounds to the target: ``beta + alpha V``, where the error of either constant is
    NaN when there was too little to tell it by."""

    alpha: float
    beta: float
    nu: float = 1.0
    alpha_error: float = float("nan")
    beta_error: float = float("nan")
    covariance: float = float("nan")  # of the errors of alpha and beta

    def __post_init__(self) -> None:
        if not (self.alpha >= 0 and np.isfinite(self.beta) and np.isfinite(self.nu)):
            raise InputError(
                "a surrogate needs alpha of zero or more and finite beta and nu, got "
                f"alpha {self.alpha!r}, beta {self.beta!r}, nu {self.nu!r}"
            )

    def rounds(self, variance: float) -> float:
        """Return the number of rounds for a plan of that variance, at least one."""
        return max(self.beta + self.alpha * variance, 1.0)

    def rounds_error(self, variance: float) -> float:
        """Return the standard error of that number, by alpha and beta alone."""
        spread2 = (
            self.beta_error**2
            + 2 * variance * self.covariance
            + (variance * self.alpha_error) ** 2
        )
        return float(max(spread2, 0.0) ** 0.5) if spread2 == spread2 else spread2

    @property
    def ratio_error(self) -> float:
        """Return the standard error of ``beta / alpha``."""
        if not self.alpha > 0:
            return float("nan")
        return self.rounds_error(-self.beta / self.alpha) / self.alpha


def variance_terms(
    data_weights: FloatArray, norms2: FloatArray, probabilities: FloatArray
) -> FloatArray:
    """Return ``a_n^2 G_n^2 / q_n`` of each client."""
    terms: FloatArray = data_weights**2 * norms2 / probabilities
    return terms


def fit_rounds(
    variances: Sequence[float],
    rounds: Sequence[float],
    *,
    errors: Sequence[float] | None = None,
    nu: float = 1.0,
    least_variance: float = 0.0,
) -> Surrogate:
    """Fit ``R = beta + alpha V`` to pilots by least squares, under ``alpha >= 0`` and
    ``R >= 1`` at the least variance that any plan can have.

    Two pilots are met exactly where the limits allow: ``beta / alpha =
    (V_a - rho V_b) / (rho - 1)`` with ``rho = R_a / R_b``. If more variance did not
    take more rounds, ``alpha`` is zero: sampling does not matter there. The constants'
    own errors follow from ``errors``, those of the pilots' rounds, or else from the
    residual where there are more than two pilots.
    """
    v, y = np.asarray(variances, dtype=float), np.asarray(rounds, dtype=float)
    if len(v) < 2 or np.ptp(v) == 0:
        raise InputError("a fit needs pilots of at least two different variances")
    around = v - v.mean()
    alpha = float(around @ y / (around @ around))
    beta = float(y.mean() - alpha * v.mean())
    if alpha < 0:
        return Surrogate(alpha=0.0, beta=max(float(y.mean()), 1.0), nu=nu)
    if beta + alpha * least_variance < 1:
        over = v - least_variance
        alpha = max(float(over @ (y - 1) / (over @ over)), 0.0)
        return Surrogate(alpha=alpha, beta=1 - alpha * least_variance, nu=nu)
    spreads2 = np.full(len(v), np.nan)
    if errors is not None:
        spreads2 = np.asarray(errors, dtype=float) ** 2
    elif len(v) > 2:
        residual = y - beta - alpha * v
        spreads2[:] = float(residual @ residual) / (len(v) - 2)
    alpha_parts = around / float(around @ around)  # of each pilot's rounds
    beta_parts = 1 / len(v) - v.mean() * alpha_parts
    return Surrogate(
        alpha=alpha,
        beta=beta,
        nu=nu,
        alpha_error=float(spreads2 @ alpha_parts**2) ** 0.5,
        beta_error=float(spreads2 @ beta_parts**2) ** 0.5,
        covariance=float(spreads2 @ (alpha_parts * beta_parts)),
    )


class Exponent(NamedTuple):
    """A fitted ``nu`` and its standard error, NaN where it lies at its limits."""

    nu: float
    error: float


def fit_nu(
    surrogate: Surrogate,
    terms: FloatArray,
    rank_ratio: FloatArray,
    rounds: float,
    rounds_error: float = float("nan"),
) -> Exponent:
    """Return the ``nu`` with which a pilot at reduced rank, of variance terms
    ``a^2 G^2 / q`` and ratios ``r / k_n``, takes that many rounds.

    It is kept within -5 to 5; ``alpha = 0`` leaves nothing to fit it by. Its error is
    that of ``(R - beta) / alpha``, to first order in those of ``R``, alpha and beta,
    over the slope ``sum terms (r / k)^nu ln(r / k)``.
    """
    if not surrogate.alpha > 0:
        raise InputError("nu cannot be measured: the pilots' rounds do not depend on q")
    if not np.any(rank_ratio > 1):
        raise InputError(
            "nu cannot be measured: no client of the pilot had a lower rank"
        )
    wanted = (rounds - surrogate.beta) / surrogate.alpha
    low, high = NU_RANGE
    for _ in range(NUM_BISECTIONS):
        middle = (low + high) / 2
        if float(terms @ rank_ratio**middle) < wanted:
            low = middle
        else:
            high = middle
    nu = (low + high) / 2
    slope = float(terms @ (rank_ratio**nu * np.log(rank_ratio)))
    spread = np.hypot(rounds_error, surrogate.rounds_error(wanted)) / surrogate.alpha
    is_inside = min(nu - NU_RANGE[0], NU_RANGE[1] - nu) > 1e-9
    return Exponent(nu, float(spread) / slope if is_inside else float("nan"))


class Norms(NamedTuple):
    """``G_n^2`` of all clients and their standard errors."""

    values: FloatArray
    errors: FloatArray


def shrunken_norms2(
    client_ids: Sequence[int], norms2: Sequence[float], num_clients: int
) -> Norms:
    """Return ``G_n^2`` for all clients from what the drawn ones sent.

    A client's mean over its ``m`` updates is drawn towards the pooled mean of clients,
    ``(m mean_n + c pooled) / (m + c)``, ``c`` the variance within over that between
    clients (the James-Stein weight, one-way analysis of variance); who was never drawn
    has the pooled mean, never zero. The errors are those of that estimate if the two
    variances are true: ``within / (m + c)``, and ``between`` for who was never drawn.
    """
    ids, values = np.asarray(client_ids, dtype=np.intp), np.asarray(norms2, dtype=float)
    if not len(ids):
        raise InputError(
            "policy.pilots: no update was seen, so gradient norms cannot be estimated; "
            "give more rounds or a higher probability"
        )
    counts = np.bincount(ids, minlength=num_clients)
    means = np.bincount(ids, values, minlength=num_clients) / np.maximum(counts, 1)
    seen = counts > 0
    pooled = float(means[seen].mean())
    estimate = np.full(num_clients, pooled)
    within2 = float(np.sum((values - means[ids]) ** 2)) / max(len(ids) - seen.sum(), 1)
    spread2 = float(means[seen].var(ddof=1)) if seen.sum() > 1 else 0.0
    between2 = spread2 - within2 * float(np.mean(1 / counts[seen]))
    pooled2 = spread2 / seen.sum()
    if not between2 > 0:  # nothing lies between the clients
        return Norms(estimate, np.full(num_clients, pooled2**0.5))
    pull = within2 / between2
    m = counts[seen]
    estimate[seen] = (m * means[seen] + pull * pooled) / (m + pull)
    errors2 = np.full(num_clients, between2 + pooled2)
    is_known = len(ids) > seen.sum()  # else no client was drawn twice
    errors2[seen] = within2 / (m + pull) if is_known else np.nan
    return Norms(estimate, np.sqrt(errors2))
