"""The constants that rounds tell, against changes that are known."""

import numpy as np
import pytest

from netsim.policy.noise_scale import (
    PRIOR_RATIO,
    RATIO_RANGE,
    STEP_RANGE,
    pooled_ratio,
    rank_exponent,
    round_moments,
    step_factor,
)
from netsim.policy.pilots import Update
from netsim.policy.surrogate import Surrogate

NUM_CLIENTS, NUM_NUMBERS = 12, 30
RNG = np.random.default_rng(4)
WEIGHTS = RNG.dirichlet(np.full(NUM_CLIENTS, 3.0))
COMMON = RNG.normal(size=NUM_NUMBERS)
CHANGES = COMMON + 2.5 * RNG.normal(size=(NUM_CLIENTS, NUM_NUMBERS))
CHANCES = RNG.uniform(0.15, 0.9, NUM_CLIENTS)
NORMS2 = (CHANGES**2).sum(axis=1)
MEAN2 = float(((WEIGHTS @ CHANGES) ** 2).sum())
SPREAD2 = float(WEIGHTS**2 @ NORMS2)
FULL = float((WEIGHTS**2).sum())
RATIO = FULL * (MEAN2 / SPREAD2 - 1)


def one_round(rng, chances=CHANCES):
    """Return the moments of one draw with weights a / q."""
    ids = np.flatnonzero(rng.random(NUM_CLIENTS) < chances)
    weights = WEIGHTS[ids] / chances[ids]
    total2 = float(((weights @ CHANGES[ids]) ** 2).sum())
    return round_moments(weights, WEIGHTS[ids], chances[ids], NORMS2[ids], total2)


def test_moments_of_a_round_have_the_right_mean():
    found = np.array([one_round(RNG) for _ in range(20_000)])
    error = found.std(axis=0) / len(found) ** 0.5
    assert np.abs(found.mean(axis=0) - [MEAN2, SPREAD2]).max() < 4 * error.max()
    assert (np.abs(found.mean(axis=0) - [MEAN2, SPREAD2]) < 4 * error).all()


def test_full_participation_tells_them_exactly():
    found = one_round(RNG, np.ones(NUM_CLIENTS))
    assert found == pytest.approx((MEAN2, SPREAD2), rel=1e-12)


def test_twenty_rounds_tell_the_ratio_within_its_stated_error():
    found = [
        pooled_ratio([one_round(RNG) for _ in range(20)], WEIGHTS, prior=RATIO)
        for _ in range(400)
    ]
    values, errors = np.array(found).T
    assert values.mean() == pytest.approx(RATIO, abs=4 * values.std() / 20)
    assert np.sqrt((errors**2).mean()) == pytest.approx(values.std(), rel=0.3)


def test_the_step_is_inverse_to_one_and_the_noise_scale():
    law = Surrogate(alpha=250.0, beta=250.0 * RATIO)

    def wanted(q):  # 1 / (1 + V / g2), V = sum a^2 (1 - q) / q
        return 1 / (1 + FULL * (1 - q) / q / (RATIO + FULL))

    for q in (0.3, 0.8):
        found = step_factor(law, FULL / q, tuned=FULL / 0.4)
        assert found == pytest.approx(wanted(q) / wanted(0.4))
    assert step_factor(law, FULL, tuned=1e6) == STEP_RANGE[1]


def test_the_prior_fades():
    rounds = [one_round(RNG) for _ in range(500)]
    away = [
        abs(pooled_ratio(rounds[:n], WEIGHTS, prior=3.0).value - RATIO)
        for n in (1, 5, 20)
    ]
    assert away[0] > away[1] > away[2]
    assert pooled_ratio([], WEIGHTS).value == PRIOR_RATIO
    assert not pooled_ratio(rounds[:1], WEIGHTS).is_certain  # one round has no error


def test_only_the_last_rounds_count_and_limits_hold():
    late = [one_round(RNG) for _ in range(20)]
    early = [(1e3 * mean2, spread2) for mean2, spread2 in late]
    assert pooled_ratio(early + late, WEIGHTS) == pooled_ratio(late, WEIGHTS)
    assert pooled_ratio(early, WEIGHTS).value == RATIO_RANGE[1]
    assert pooled_ratio([(0.0, 1.0)] * 9, WEIGHTS, prior=0.0).value == RATIO_RANGE[0]


def updates(nu, noise, num_rounds=8):
    """Return norms of mixed rounds that shrink, and differ by client and rank."""
    own = RNG.lognormal(0, 1, NUM_CLIENTS)
    return [
        Update(
            client_id,
            ratio,
            own[client_id] * 0.8**number * ratio**nu * RNG.lognormal(0, noise),
            number,
        )
        for number in range(num_rounds)
        for client_id in np.flatnonzero(RNG.random(NUM_CLIENTS) < 0.5).tolist()
        for ratio in [RNG.choice([1.0, 2.0])]
    ]


@pytest.mark.parametrize("nu", [-0.5, 0.7, 2.0])
def test_mixed_ranks_tell_their_exponent(nu):
    assert rank_exponent(updates(nu, 0.0)).nu == pytest.approx(nu, abs=1e-6)
    found = [rank_exponent(updates(nu, 0.3)) for _ in range(200)]
    values, errors = np.array(found).T
    assert values.mean() == pytest.approx(nu, abs=4 * values.std() / 200**0.5)
    assert np.sqrt((errors**2).mean()) == pytest.approx(values.std(), rel=0.3)


def test_one_rank_tells_no_exponent():
    same = [one._replace(rank_ratio=1.0) for one in updates(1.0, 0.1)]
    assert np.isnan(rank_exponent(same).nu)
    assert np.isnan(rank_exponent([]).nu)
