"""The convergence bound on quadratics, and the surrogate's fit on known laws."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netsim.errors import InputError
from netsim.policy.surrogate import (
    Descent,
    Surrogate,
    fit_nu,
    fit_rounds,
    gradient_bound,
    shrunken_norms2,
    variance_terms,
)

CURVATURE = np.array([1.0, 0.6, 0.3, 0.1])  # L = 1
WEIGHTS = np.array([0.1, 0.1, 0.15, 0.15, 0.2, 0.3])
NUM_SEEDS = 48


def quadratic(*, noise, spread, step_size, num_local_steps, rank=4):
    """Return ``f_n(x) = (x - b_n) . A (x - b_n) / 2`` and its constants: gradients
    differ by ``A (b - b_n)`` everywhere, so ``c_h = 0``.

    Sketched, a client follows ``f_n(S x)``, whose mean has the curvature ``(r/k) A``.
    """
    centres = spread * np.random.default_rng(8).standard_normal((6, 4)) + 2
    middle = WEIGHTS @ centres
    ratio = len(CURVATURE) / rank
    gap = 0.5 * np.sum(CURVATURE * middle**2) / ratio  # from x_0 = 0 to the minimum
    descent = Descent(
        data_weights=WEIGHTS,
        noise=np.full(6, noise),
        sketch_noise=np.zeros(6),
        heterogeneity=np.sum((CURVATURE * (centres - middle)) ** 2, axis=1),
        sketch_ratio=np.full(6, ratio),
        smoothness=1.0,
        initial_gap=float(gap),
        step_size=step_size,
        num_local_steps=num_local_steps,
    )
    return centres, descent


def descend(centres, descent, q, num_rounds, rank=4):
    """Run FedAvg with independent sampling; return the mean of ``||grad F||^2`` over
    rounds and seeds, and the largest variance of a client's sketched gradient."""
    rng, ratio = np.random.default_rng(1), len(CURVATURE) / rank
    x, middle = np.zeros((NUM_SEEDS, 4)), WEIGHTS @ centres
    squares, sketch_noise = [], 0.0
    for _ in range(num_rounds):
        gradient = CURVATURE * (ratio * x - middle)
        squares.append(np.mean(np.sum(gradient**2, axis=1)))
        order = np.argsort(rng.random((NUM_SEEDS, 6, 4)), axis=2)
        sketch = ratio * (order < rank)
        local = np.repeat(x[:, None], 6, axis=1)
        for _ in range(descent.num_local_steps):
            pull = sketch * CURVATURE * (sketch * local - centres)
            mean = CURVATURE * (ratio * local - centres)
            noise2 = np.mean(np.sum((pull - mean) ** 2, axis=2), axis=0).max()
            sketch_noise = max(sketch_noise, noise2)
            noise = rng.standard_normal(local.shape) * (descent.noise[0] / 4) ** 0.5
            local -= descent.step_size * (pull + noise)
        present = rng.random((NUM_SEEDS, 6)) < q
        x = x + np.einsum("sn,snd->sd", present * WEIGHTS / q, local - x[:, None])
    return np.mean(squares), sketch_noise


SAMPLINGS = [
    np.ones(6),
    np.full(6, 0.3),
    np.array([0.05, 0.1, 0.9, 0.2, 0.5, 1.0]),
]


@pytest.mark.parametrize("q", SAMPLINGS, ids=["full", "uniform", "uneven"])
@pytest.mark.parametrize("noise", [0.0, 1.0])
@pytest.mark.parametrize("spread", [0.0, 1.0])
@pytest.mark.parametrize(("step_size", "num_steps"), [(0.1, 1), (0.02, 5), (0.05, 5)])
def test_the_bound_holds_on_quadratics(q, noise, spread, step_size, num_steps):
    centres, descent = quadratic(
        noise=noise, spread=spread, step_size=step_size, num_local_steps=num_steps
    )
    for num_rounds in (20, 150):
        found, _ = descend(centres, descent, q, num_rounds)
        bound = gradient_bound(descent, q, num_rounds)
        assert found <= bound
        assert bound <= 60 * found  # it says something


@pytest.mark.parametrize("rank", [1, 2])
def test_the_bound_holds_for_the_sketched_objective(rank):
    centres, plain = quadratic(
        noise=0.5, spread=1.0, step_size=0.02, num_local_steps=1, rank=rank
    )
    for q in SAMPLINGS:
        found, sketch_noise = descend(centres, plain, q, 150, rank)
        whole = replace(plain, sketch_noise=np.full(6, sketch_noise))
        assert found <= gradient_bound(whole, q, 150)


def settle(centres, descent, q, num_rounds, rank):
    """Run :func:`descend` from the optimum with each client's steps in closed form:
    with a sketch in force for the round every coordinate decays by itself."""
    rng, ratio = np.random.default_rng(2), len(CURVATURE) / rank
    eta, num_steps = descent.step_size, descent.num_local_steps
    middle = WEIGHTS @ centres
    x = np.repeat(middle[None] / ratio, NUM_SEEDS, axis=0)
    squares, sketch_noise = [], 0.0
    for _ in range(num_rounds):
        squares.append(np.mean(np.sum((CURVATURE * (ratio * x - middle)) ** 2, axis=1)))
        is_kept = np.argsort(rng.random((NUM_SEEDS, 6, 4)), axis=2) < rank
        decay = 1 - eta * ratio**2 * CURVATURE
        left = np.where(is_kept, decay**num_steps, 1.0)
        local = centres / ratio + left * (x[:, None] - centres / ratio)
        spread = eta * np.sqrt(descent.noise[0] / 4)
        spread *= np.sqrt((1 - decay ** (2 * num_steps)) / (1 - decay**2)) * is_kept
        local += spread * rng.standard_normal(local.shape)
        for place in (x[:, None], local):
            mean = CURVATURE * (ratio * place - centres)
            noise2 = (ratio - 1) * np.mean(np.sum(mean**2, axis=2), axis=0).max()
            sketch_noise = max(sketch_noise, noise2)
        present = rng.random((NUM_SEEDS, 6)) < q
        x = x + np.einsum("sn,snd->sd", present * WEIGHTS / q, local - x[:, None])
    return np.mean(squares), sketch_noise


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("q", SAMPLINGS, ids=["full", "uniform", "uneven"])
def test_more_local_steps_do_not_average_the_noise_of_a_sketch(q, rank):
    """The sketch is drawn once a round: a bound that divides its noise by the number of
    steps is violated, the one that does not holds, at the same ``eta H``."""
    violated = {}
    for num_steps in (1, 10, 100, 1000):
        centres, plain = quadratic(
            noise=0.1,
            spread=1.0,
            step_size=0.01 / num_steps,
            num_local_steps=num_steps,
            rank=rank,
        )
        plain = replace(plain, initial_gap=0.0, heterogeneity=np.zeros(6))
        found, sketch_noise = settle(centres, plain, q, 600, rank)
        whole = replace(plain, sketch_noise=np.full(6, sketch_noise))
        assert found <= gradient_bound(whole, q, 600)
        shared = replace(plain, noise=plain.noise + sketch_noise)
        violated[num_steps] = found / gradient_bound(shared, q, 600)
    assert violated[1] <= 1
    assert violated[1000] > 10


def test_the_drift_of_sketched_clients_grows_with_the_square_of_their_ratio():
    _, full = quadratic(noise=1.0, spread=1.0, step_size=0.1, num_local_steps=5)
    full = replace(full, initial_gap=0.0, smoothness=1e6)  # drift alone counts
    half = replace(full, sketch_ratio=np.full(6, 2.0))
    everybody = np.ones(6)
    assert gradient_bound(half, everybody, 10) == pytest.approx(
        4 * gradient_bound(full, everybody, 10), rel=1e-5
    )


def test_the_bound_says_that_rare_clients_and_low_ranks_cost_rounds():
    _, descent = quadratic(noise=1.0, spread=1.0, step_size=0.1, num_local_steps=1)
    _, sketched = quadratic(
        noise=1.0, spread=1.0, step_size=0.1, num_local_steps=1, rank=2
    )
    often, rarely = np.full(6, 0.5), np.full(6, 0.1)
    bound = gradient_bound(descent, often, 1000)
    assert bound < gradient_bound(descent, rarely, 1000)
    assert bound < gradient_bound(sketched, often, 1000)


@settings(max_examples=60, deadline=None)
@given(
    alpha=st.floats(0.01, 100),
    beta=st.floats(1, 100),
    variances=st.lists(st.floats(0.1, 10), min_size=2, max_size=6, unique=True),
)
def test_the_fit_recovers_an_exact_law(alpha, beta, variances):
    if np.ptp(variances) < 0.01:
        return
    fit = fit_rounds(variances, [beta + alpha * v for v in variances])
    assert fit.alpha == pytest.approx(alpha, rel=1e-6)
    assert fit.beta == pytest.approx(beta, rel=1e-5, abs=1e-5)


def test_two_pilots_agree_with_the_closed_form():
    (v_a, v_b), (r_a, r_b) = (8.0, 3.0), (210.0, 100.0)
    fit, rho = fit_rounds([v_a, v_b], [r_a, r_b]), r_a / r_b
    assert fit.beta / fit.alpha == pytest.approx((v_a - rho * v_b) / (rho - 1))
    assert np.isnan(fit.alpha_error)


def test_pilots_that_got_faster_with_variance_say_that_sampling_does_not_matter():
    fit = fit_rounds([1.0, 4.0], [120.0, 100.0])
    assert (fit.alpha, fit.beta) == (0.0, 110.0)


def test_a_negative_beta_leaves_at_least_one_round_at_the_least_variance():
    fit = fit_rounds([2.0, 3.0], [100.0, 300.0], least_variance=1.0)
    assert fit.beta < 0
    assert fit.rounds(1.0) == pytest.approx(1.0)
    free = fit_rounds([2.0, 3.0], [100.0, 300.0], least_variance=1.6)
    assert (free.alpha, free.beta) == pytest.approx((200, -300))
    grid = np.linspace(0, 400, 4001)
    loss = (1 + grid - 100) ** 2 + (1 + 2 * grid - 300) ** 2  # limited fits
    assert fit.alpha == pytest.approx(grid[np.argmin(loss)], abs=0.1)


def test_the_errors_of_a_fit_cover_the_truth():
    rng, hits = np.random.default_rng(3), np.zeros(2)
    variances = np.linspace(1, 5, 8)
    for _ in range(300):
        fit = fit_rounds(variances, 50 + 20 * variances + rng.normal(0, 5, 8))
        hits += (
            abs(fit.alpha - 20) < 2 * fit.alpha_error,
            (abs(fit.beta - 50) < 2 * fit.beta_error),
        )
    assert np.all((hits > 0.85 * 300) & (hits < 0.98 * 300))  # t of 6: 0.91


@pytest.mark.parametrize("nu", [-0.5, 0.0, 1.0, 2.0])
def test_a_third_pilot_tells_nu(nu):
    rng = np.random.default_rng(0)
    norms2, q = rng.uniform(1, 4, 6), rng.uniform(0.1, 1, 6)
    ratio = np.array([1.0, 2.0, 4.0, 8.0, 2.0, 2.0])
    law = Surrogate(alpha=30.0, beta=-10.0)
    terms = variance_terms(WEIGHTS, norms2, q)
    rounds = law.beta + law.alpha * float(terms @ ratio**nu)
    assert fit_nu(law, terms, ratio, rounds).nu == pytest.approx(nu, abs=1e-9)


def test_errors_of_rounds_carry_over_to_all_constants():
    rng = np.random.default_rng(5)
    v, truth, error = np.array([1.0, 2.0, 4.0]), np.array([70.0, 90.0, 130.0]), 2.0
    terms, ratio, sketched = np.full(4, 0.5), np.full(4, 2.0), 50 + 20 * 2 * 2**0.7
    exact = fit_rounds(v, truth, errors=[error] * 3)
    nu = fit_nu(exact, terms, ratio, sketched, error)
    assert nu.nu == pytest.approx(0.7, abs=1e-6)
    found = []
    for _ in range(4000):
        fit = fit_rounds(v, truth + rng.normal(0, error, 3))
        noisy = fit_nu(fit, terms, ratio, sketched + rng.normal(0, error)).nu
        found.append(
            (fit.alpha, fit.beta, fit.beta / fit.alpha, fit.rounds(3.0), noisy)
        )
    told = (exact.alpha_error, exact.beta_error, exact.ratio_error)
    told += (exact.rounds_error(3.0), nu.error)
    assert np.std(found, axis=0) == pytest.approx(told, rel=0.08)


def test_a_nu_at_its_limit_has_no_error():
    law = fit_rounds([1.0, 2.0], [10.0, 12.0], errors=[1.0, 1.0])
    found = fit_nu(law, np.ones(2), np.full(2, 2.0), 1e9, 1.0)
    assert found.nu == pytest.approx(5.0)
    assert np.isnan(found.error)


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(InputError, match="two different variances"):
        fit_rounds([1.0, 1.0], [5.0, 6.0])
    flat, one = Surrogate(alpha=0.0, beta=9.0), np.ones(2)
    with pytest.raises(InputError, match="do not depend on q"):
        fit_nu(flat, one, 2 * one, 5.0)
    with pytest.raises(InputError, match="no client"):
        fit_nu(Surrogate(alpha=1.0, beta=9.0), one, one, 5.0)
    with pytest.raises(InputError, match="alpha of zero or more"):
        Surrogate(alpha=-1.0, beta=9.0)
    with pytest.raises(InputError, match="no update was seen"):
        shrunken_norms2([], [], 3)


def test_who_was_never_drawn_has_the_pooled_mean():
    found, errors = shrunken_norms2([0, 0, 1, 1], [1.0, 3.0, 9.0, 11.0], 3)
    assert errors[2] > errors[0] == errors[1] > 0
    assert found[2] == 6.0
    assert 2.0 < found[0] < found[2] < found[1] < 10.0
    alike = shrunken_norms2([0, 0, 1, 1], [1.0, 3.0, 1.0, 3.0], 3).values
    assert alike.tolist() == [2.0, 2.0, 2.0]  # nothing lies between the clients


def test_shrinking_comes_closer_to_the_truth_than_plain_means():
    rng = np.random.default_rng(7)
    truth = rng.gamma(4.0, 1.0, 60)
    ids = np.repeat(np.arange(60), 2)
    seen = truth[ids] + rng.normal(0, 2.0, len(ids))
    plain = seen.reshape(60, 2).mean(axis=1)
    shrunken, errors = shrunken_norms2(ids, seen, 60)
    off = np.mean((shrunken - truth) ** 2)
    assert np.mean(errors**2) == pytest.approx(off, rel=0.5)
    assert np.sum((shrunken - truth) ** 2) < 0.9 * np.sum((plain - truth) ** 2)
