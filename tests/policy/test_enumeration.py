"""Plans of small fleets against all subsets of their clients, and their promises."""

import numpy as np
import pytest

from netsim.policy.solver import score, solve
from netsim.policy.surrogate import Surrogate
from tests.support.fleets import fleet
from tests.torture.independent.plans import planned

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["equal-finish", "processor-sharing"])
@pytest.mark.parametrize("seed", range(12))
def test_small_fleets_are_planned_and_promised_as_brute_force_finds(kind, seed):
    """Over 60 such instances plans were up to 10 % above, and promised 11 % too little
    to 15 % too much, before small fleets were enumerated."""
    above, misses = planned(kind, seed)
    assert above <= 0.005
    assert misses <= 1e-6


def test_the_promise_is_not_the_sample_that_chose_the_plan():
    """With few rounds the best of twenty choices looks better than it is: the mean
    promise of many seeds must lie within its error of the truth."""
    problem = fleet(14, 3, band_hz=5e5)
    law = Surrogate(alpha=60.0, beta=5.0)
    gaps = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        found = solve(problem, law, sharing="equal-finish", rng=rng, num_rounds=32)
        truth = true_total_s(problem, law, found.choice)
        gaps.append(found.score.total_s / truth - 1)
        assert 0 < found.score.total_error_s < 0.05 * found.score.total_s
    error = np.std(gaps) / len(gaps) ** 0.5
    assert abs(np.mean(gaps)) <= 3 * error + 0.003


def true_total_s(problem, law, choice):
    (scored,) = score(
        problem,
        law,
        [choice],
        sharing="equal-finish",
        rng=np.random.default_rng(1),
        num_rounds=20_000,
    )
    return scored.total_s
