"""Samplers: unbiased, as variable as METHOD.md 4 says, and honest about their odds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netsim.errors import InputError
from netsim.policy import (
    SAMPLERS,
    DataWeightedSampling,
    FullParticipation,
    IndependentSampling,
    UniformSampling,
    WeightedSampling,
    baselines,
)
from netsim.policy.uniform import lowest

WEIGHTS = np.array([0.05, 0.1, 0.15, 0.2, 0.2, 0.3])
CHANGES = np.random.default_rng(5).standard_normal((6, 3))  # Delta_n
NUM_ROUNDS = 12_000
Q = (0.1, 0.9, 0.3, 0.5, 0.7, 0.4)

COINS = [
    IndependentSampling(probability=Q),
    IndependentSampling(probability=0.3),
    IndependentSampling(probability=0.05, max_weight=0.6),
    DataWeightedSampling(num_expected=2.5),
    DataWeightedSampling(num_expected=4.5),
    FullParticipation(),
]
OTHERS = [
    UniformSampling(num_drawn=2),
    WeightedSampling(num_draws=3),
    WeightedSampling(num_draws=2, shares=(3.0, 1.0, 1.0, 2.0, 2.0, 1.0)),
]
ALL = COINS + OTHERS


def play(sampler):
    """Return the weights of many rounds, a row each; who is absent weighs zero."""
    rng = np.random.default_rng(3)
    weights = np.zeros((NUM_ROUNDS, len(WEIGHTS)))
    for row in weights:
        drawn = sampler.draw(WEIGHTS, rng)
        assert list(drawn.client_ids) == sorted(set(drawn.client_ids))
        row[list(drawn.client_ids)] = drawn.weights
    return weights


def second_moment(sampler):
    """Return ``E||sum of weight_n Delta_n||^2`` by the formula of the sampler."""
    mean = np.sum((WEIGHTS @ CHANGES) ** 2)
    own = WEIGHTS**2 * np.sum(CHANGES**2, axis=1)
    q = sampler.probabilities(WEIGHTS)
    if sampler.kind == "weighted":
        shares = WEIGHTS if sampler.shares == "data" else np.array(sampler.shares) / 10
        return mean + (np.sum(own / shares) - mean) / sampler.num_draws
    if sampler.kind == "uniform":  # simple random sampling, Cochran (1977), 2.8
        n, k = len(WEIGHTS), sampler.num_drawn
        parts = WEIGHTS[:, None] * CHANGES
        spread = np.sum((parts - parts.mean(axis=0)) ** 2) / (n - 1)
        return mean + n**2 * (1 - k / n) * spread / k
    return mean + np.sum(own * (1 - q) / q)  # METHOD.md 4


def test_every_registered_sampler_is_in_the_list():
    biased = {"oort"}  # tests/policy/test_oort.py
    assert {sampler.kind for sampler in ALL} == set(SAMPLERS) - biased


@pytest.mark.parametrize("sampler", ALL, ids=repr)
def test_merged_updates_are_unbiased_with_the_variance_of_the_formula(sampler):
    weights = play(sampler)
    error = weights.std(axis=0) / NUM_ROUNDS**0.5
    assert np.all(np.abs(weights.mean(axis=0) - WEIGHTS) <= 4 * error + 1e-12)
    updates = weights @ CHANGES
    squares = np.sum(updates**2, axis=1)
    error = squares.std() / NUM_ROUNDS**0.5
    assert squares.mean() == pytest.approx(second_moment(sampler), abs=4 * error + 1e-9)


@pytest.mark.parametrize("sampler", ALL, ids=repr)
def test_a_plan_states_how_often_each_client_takes_part(sampler):
    took_part = np.count_nonzero(play(sampler), axis=0) / NUM_ROUNDS
    stated = sampler.probabilities(WEIGHTS)
    error = np.sqrt(stated * (1 - stated) / NUM_ROUNDS)
    assert np.all(np.abs(took_part - stated) <= 4 * error + 1e-12)


def test_rounds_may_be_empty_under_independent_draws_only():
    rng = np.random.default_rng(0)
    rare = IndependentSampling(probability=0.01)
    sizes = [len(rare.draw(WEIGHTS, rng).client_ids) for _ in range(2000)]
    assert np.mean(np.equal(sizes, 0)) == pytest.approx(0.99**6, abs=0.02)
    for sampler in OTHERS:
        assert all(sampler.draw(WEIGHTS, rng).client_ids for _ in range(100))


def test_no_weight_exceeds_its_limit():
    weights = play(IndependentSampling(probability=1e-6, max_weight=0.5))
    assert weights.max() <= 0.5 * (1 + 1e-12)
    assert np.count_nonzero(weights) > 0


def test_a_limit_below_the_largest_data_weight_is_refused():
    sampler = IndependentSampling(probability=0.5, max_weight=0.2)
    with pytest.raises(InputError, match=r"largest data weight, 0\.3"):
        sampler.probabilities(WEIGHTS)
    with pytest.raises(InputError, match=r"must lie in 2 \(what"):
        baselines.scaled_probabilities(WEIGHTS, 1.0, WEIGHTS / 0.5)
    with pytest.raises(InputError, match=r"must lie in 0 .* to 6, got 7"):
        DataWeightedSampling(num_expected=7.0).probabilities(WEIGHTS)


def test_shares_for_another_number_of_clients_are_refused():
    sampler = WeightedSampling(num_draws=2, shares=(0.5, 0.5))
    with pytest.raises(InputError, match="lists 2 values for 6 clients"):
        sampler.draw(WEIGHTS, np.random.default_rng(0))


@settings(max_examples=100, deadline=None)
@given(
    scores=st.lists(st.floats(1e-6, 1e6) | st.just(0.0), min_size=2, max_size=20),
    part=st.floats(0.01, 0.99),
    floor=st.floats(0, 0.2),
)
def test_scaled_probabilities_add_up_exactly(scores, part, floor):
    scores, floors = np.array(scores), np.full(len(scores), floor)
    most = np.sum(np.where(scores > 0, 1.0, floor))
    num_expected = floors.sum() + part * (most - floors.sum())
    if num_expected <= 0:
        return
    q = baselines.scaled_probabilities(scores, num_expected, floors)
    assert q.sum() == pytest.approx(num_expected, rel=1e-9)
    assert np.all((q >= floors) & (q <= 1))
    inside = (q > floors) & (q < 1)
    ratio = q[inside] / scores[inside]
    assert ratio == pytest.approx(ratio[:1].repeat(len(ratio)), rel=1e-9)


def test_baseline_scores_are_those_of_their_papers():
    norms, compute_s = np.arange(1.0, 7.0), np.full(6, 2.0)
    upload_s = np.array([1.0, 4.0, 9.0, 16.0, 25.0, 36.0])
    assert baselines.statistics_only(WEIGHTS, norms) == pytest.approx(WEIGHTS * norms)
    assert baselines.system_only(compute_s, upload_s)[1] == pytest.approx(1 / 6)
    draws = baselines.weighted_draws(WEIGHTS, norms, upload_s)
    assert draws == pytest.approx(WEIGHTS)  # G_n / sqrt(t_n) is one for all


def test_statistics_only_has_the_least_variance_of_its_size():
    norms = np.linalg.norm(CHANGES, axis=1)
    best = baselines.scaled_probabilities(baselines.statistics_only(WEIGHTS, norms), 2)
    least = np.sum((WEIGHTS * norms) ** 2 / best)
    rng = np.random.default_rng(2)
    for _ in range(50):
        other = baselines.scaled_probabilities(rng.uniform(0.1, 1, 6), 2.0)
        assert np.sum((WEIGHTS * norms) ** 2 / other) >= least - 1e-12


@given(
    lots=st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75]), min_size=1, max_size=12),
    data=st.data(),
)
def test_the_lowest_lots_are_those_of_a_stable_sort(lots, data):
    num_drawn = data.draw(st.integers(1, len(lots)))
    array = np.array(lots)
    expected = np.sort(np.argsort(array, kind="stable")[:num_drawn])
    assert lowest(array, num_drawn).tolist() == expected.tolist()


@pytest.mark.parametrize("sampler", ALL, ids=repr)
def test_what_a_sampler_remembers_is_of_the_weights_it_is_asked_about(sampler):
    other = np.ascontiguousarray(WEIGHTS[::-1])
    fresh = type(sampler).model_validate(sampler.model_dump())
    for weights in (WEIGHTS, other, WEIGHTS):
        drawn = sampler.draw(weights, np.random.default_rng(7))
        new = type(sampler).model_validate(fresh.model_dump())
        assert drawn == new.draw(weights, np.random.default_rng(7))
        assert (sampler.probabilities(weights) == new.probabilities(weights)).all()
    assert sampler == fresh  # what it remembers is no part of what it says
