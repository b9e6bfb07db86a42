"""Samplers against the moments of their designs, from their sentences alone.

Each is drawn many times; how often clients and pairs of clients take part, and mean
and variance of the weighted sum, are compared in standard errors.
"""

import itertools

import numpy as np

from netsim.policy.data_weighted import DataWeightedSampling
from netsim.policy.full import FullParticipation
from netsim.policy.independent import IndependentSampling
from netsim.policy.uniform import UniformSampling
from netsim.policy.weighted import WeightedSampling

NUM_CLIENTS = 9
LIMIT = 5.0  # standard errors, of some 60 figures per sampler


def _capped(weights, total):
    """Return ``min(1, c a)`` whose sum is ``total``, by bisection."""
    low, high = 0.0, total / weights.min()
    for _ in range(200):
        middle = (low + high) / 2
        is_high = np.minimum(1, middle * weights).sum() > total
        low, high = (low, middle) if is_high else (middle, high)
    return np.minimum(1, low * weights)


def _coins(q):
    """Return the chances of one, of two, and the variance of the sum, for coins."""
    return q, np.outer(q, q), lambda a, x: ((a * x) ** 2 * (1 - q) / q).sum()


def _subsets(size):
    """Return the same for equally likely sets of a size, by enumeration."""
    sets = list(itertools.combinations(range(NUM_CLIENTS), size))
    member = np.array([[n in one for n in range(NUM_CLIENTS)] for one in sets], float)
    chance = size / NUM_CLIENTS

    def variance(a, x):
        sums = member @ (a * x / chance)
        return ((sums - (a * x).sum()) ** 2).mean()

    return member.mean(0), member.T @ member / len(sets), variance


def _with_replacement(shares, size):
    """Return the same for draws with replacement."""
    missed = (1 - shares) ** size
    both = (1 - shares[:, None] - shares[None]) ** size
    pairs = 1 - missed[:, None] - missed[None] + both
    return (
        1 - missed,
        pairs,
        lambda a, x: (((a * x) ** 2 / shares).sum() - (a * x).sum() ** 2) / size,
    )


def designs(weights, rng):
    """Return each sampler with the moments of its design."""
    q = rng.uniform(0.1, 0.9, NUM_CLIENTS)
    shares = rng.dirichlet(np.ones(NUM_CLIENTS) * 2)
    everybody = np.ones(NUM_CLIENTS)
    return {
        "full": (FullParticipation(), _coins(everybody)),
        "independent": (IndependentSampling(probability=tuple(q)), _coins(q)),
        "data-weighted": (
            DataWeightedSampling(num_expected=5.0),
            _coins(_capped(weights, 5.0)),
        ),
        "uniform": (UniformSampling(num_drawn=4), _subsets(4)),
        "weighted": (
            WeightedSampling(num_draws=4, shares=tuple(shares)),
            _with_replacement(shares, 4),
        ),
    }


def standard_errors(sampler, design, weights, rng, num_draws):
    """Return the largest distance from the design, in standard errors."""
    chances, pairs, variance = design
    values = rng.normal(size=NUM_CLIENTS) + 1
    counts, sums = np.zeros((NUM_CLIENTS, NUM_CLIENTS)), np.empty(num_draws)
    for number in range(num_draws):
        drawn = sampler.draw(weights, rng)
        ids = np.array(drawn.client_ids, dtype=int)
        counts[np.ix_(ids, ids)] += 1
        sums[number] = (np.array(drawn.weights) * values[ids]).sum()
    np.fill_diagonal(pairs, chances)
    doubt = np.sqrt(np.maximum(pairs * (1 - pairs), 1e-18) / num_draws)
    found = [np.abs(counts / num_draws - pairs) / doubt]
    mean, expected = (weights * values).sum(), variance(weights, values)
    found.append(abs(sums.mean() - mean) / np.sqrt(max(expected, 1e-18) / num_draws))
    squares = (sums - mean) ** 2
    doubt = max(squares.std(), 1e-18) / np.sqrt(num_draws)
    found.append(abs(squares.mean() - expected) / doubt)
    given = sampler.probabilities(weights)
    assert np.allclose(given, chances, rtol=1e-9, atol=0), "other probabilities"
    return max(float(np.max(one)) for one in found)


def rows(num_draws, seed=1):
    """Yield one row per sampler."""
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(NUM_CLIENTS) * 2)
    for kind, (sampler, design) in designs(weights, rng).items():
        worst = standard_errors(sampler, design, weights, rng, num_draws)
        yield "draws", kind, num_draws, worst, LIMIT, int(not worst <= LIMIT)
