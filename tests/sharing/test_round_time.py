"""Expected round times: closed forms against the engine, bounds where they hold."""

import numpy as np
import pytest

from netsim.policy import round_time
from netsim.policy.round_time import ROUND_TIMES, Draws, Load
from netsim.sharing import SHARING_RULES, Expected, Weighted
from tests.support.shared_rounds import LinearRadio, play_round

BAND_HZ = 5_000_000
BOUNDED = ["equal-finish", "processor-sharing", "work-conserving", "tdma-first-come"]


def fleet(num_clients, seed=0):
    """Return a load in which bits, efficiencies and compute times all differ."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(10**5, 4 * 10**6, num_clients).astype(float)
    efficiency = rng.uniform(0.5, 6.0, num_clients)
    compute_s = rng.exponential(1.0, num_clients)
    return Load(compute_s=compute_s, need_hz_s=bits / efficiency, bits=bits)


def draw(q, num_rounds, seed):
    rng = np.random.default_rng(seed)
    return next(iter(round_time.common_draws([q], num_rounds, rng)))[0]


def on_the_engine(kind, draws, load):
    """Play the drawn rounds one by one; return their times in seconds."""
    rule = Weighted(unit_bits=1000) if kind == "weighted" else SHARING_RULES[kind]()
    took_s = np.zeros(draws.num_rounds)
    for index in np.unique(draws.round_index):
        expected = [
            Expected(
                int(n),
                float(load.compute_s[n]),
                int(load.bits[n]),
                float(load.bits[n] / load.need_hz_s[n]),
            )
            for n in draws.client_index[draws.round_index == index]
        ]
        ends, _ = play_round(rule, expected, BAND_HZ, LinearRadio())
        took_s[index] = max(ends) / 1e9
    return took_s


def test_every_rule_has_a_round_time_but_that_of_idle_blocks():
    assert set(ROUND_TIMES) == set(SHARING_RULES) - {"whole-blocks"}


@pytest.mark.parametrize("kind", ROUND_TIMES)
def test_the_engine_takes_as_long_as_the_closed_form(kind):
    load, q = fleet(8), np.linspace(0.2, 0.9, 8)
    draws = draw(q, 150, seed=4)
    engine_s = on_the_engine(kind, draws, load)
    formula_s = ROUND_TIMES[kind](draws, load, BAND_HZ)
    assert formula_s == pytest.approx(engine_s, rel=3e-6, abs=1e-8)
    rng = np.random.default_rng(9)
    (other,) = round_time.estimate_s([(q, load)], ROUND_TIMES[kind], BAND_HZ, 4000, rng)
    error_s = np.hypot(engine_s.std() / 150**0.5, other.error_s)
    assert engine_s.mean() == pytest.approx(other.mean_s, abs=3 * error_s)


def test_nobody_takes_no_time():
    nobody = Draws(
        num_rounds=3, round_index=np.array([1, 1]), client_index=np.array([0, 2])
    )
    empty = Draws(
        num_rounds=2, round_index=np.array([], int), client_index=np.array([], int)
    )
    for times in ROUND_TIMES.values():
        first, middle, last = times(nobody, fleet(3), BAND_HZ)
        assert first == last == 0 < middle
        assert times(empty, fleet(3), BAND_HZ).tolist() == [0, 0]


def test_the_longest_compute_of_two_coins_by_hand():
    q, compute_s = np.array([0.5, 0.25]), np.array([2.0, 4.0])
    expected_s = 0.25 * 4 + 0.75 * 0.5 * 2
    found_s = round_time.expected_longest_compute_s(q, compute_s)
    assert found_s == pytest.approx(expected_s)


def test_the_longest_compute_agrees_with_drawing():
    rng, load = np.random.default_rng(1), fleet(30)
    q = rng.uniform(0, 0.3, 30)
    draws = draw(q, 40_000, seed=2)
    longest_s = draws.most(load.compute_s[draws.client_index])
    exact_s = round_time.expected_longest_compute_s(q, load.compute_s)
    assert longest_s.mean() == pytest.approx(exact_s, abs=4 * longest_s.std() / 200)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("scale_hz", [0.2, 1.0, 20.0])
def test_bounds_hold_where_they_are_claimed(seed, scale_hz):
    load, rng = fleet(25, seed), np.random.default_rng(seed)
    q, band_hz = rng.uniform(0.02, 0.6, 25), BAND_HZ * scale_hz
    order_s = round_time.order_bound_s(q, load, band_hz)
    best_s = round_time.best_threshold_s(q, load.compute_s)
    at_best_s = round_time.linear_bound_s(q, load, band_hz, best_s)
    for threshold_s in (0.0, 0.5, 1.0, 2.0, *load.compute_s):
        other_s = round_time.linear_bound_s(q, load, band_hz, threshold_s)
        assert order_s <= at_best_s <= other_s + 1e-12
    for kind in BOUNDED:
        (found,) = round_time.estimate_s(
            [(q, load)], ROUND_TIMES[kind], band_hz, 2000, np.random.default_rng(3)
        )
        assert found.mean_s <= order_s + 4 * found.error_s


def test_bounds_do_not_hold_for_fixed_equal_shares():
    """Two clients who always take part need 1 and 9 hertz-seconds of one hertz: the
    second has half the band for all its 9, hence 18 s, not 10."""
    always, bits = np.ones(2), np.array([1.0, 9.0])
    load = Load(compute_s=np.zeros(2), need_hz_s=bits, bits=bits)
    draws = draw(always, 5, seed=0)
    assert round_time.order_bound_s(always, load, 1.0) == pytest.approx(10.0)
    assert round_time.equal_fixed_s(draws, load, 1.0) == pytest.approx([18.0] * 5)
    assert round_time.equal_finish_s(draws, load, 1.0) == pytest.approx([10.0] * 5)
    expected = [Expected(0, 0.0, 10**6, 1.0), Expected(1, 0.0, 9 * 10**6, 1.0)]
    rule = SHARING_RULES["equal-fixed"]()
    ends, _ = play_round(rule, expected, 10**6, LinearRadio())
    assert max(ends) == 18 * 10**9


def test_the_worked_example_by_formula():
    """METHOD.md 5: 10 clients, tau ~ Exp(1), t ~ Exp(1), band 5."""
    rng, num_rounds = np.random.default_rng(0), 20_000
    compute_s, need_hz_s = rng.exponential(size=(2, 10 * num_rounds))
    load = Load(compute_s=compute_s, need_hz_s=need_hz_s, bits=need_hz_s)
    draws = Draws(
        num_rounds=num_rounds,
        round_index=np.repeat(np.arange(num_rounds), 10),
        client_index=np.arange(10 * num_rounds),
    )
    for kind, published_s in (
        ("equal-fixed", 7.24),
        ("equal-finish", 3.74),
        ("work-conserving", 3.31),
    ):
        mean_s = ROUND_TIMES[kind](draws, load, 5.0).mean()
        assert mean_s == pytest.approx(published_s, abs=0.06)


def test_plans_are_compared_on_the_same_draws():
    q, more = np.full(12, 0.3), np.full(12, 0.4)
    rng = np.random.default_rng(0)
    for few, many in round_time.common_draws([q, more], 50, rng):
        pairs = set(zip(few.round_index, few.client_index, strict=True))
        assert pairs < set(zip(many.round_index, many.client_index, strict=True))


def test_draws_come_in_chunks_that_fit_in_memory(monkeypatch):
    monkeypatch.setattr(round_time, "CHUNK_PAIRS", 40)
    chunks = list(round_time.common_draws([np.ones(8)], 5, np.random.default_rng(0)))
    assert [draws.num_rounds for (draws,) in chunks] == [2, 2, 1]
    assert all(len(draws.client_index) == 8 * draws.num_rounds for (draws,) in chunks)


def test_rare_and_common_clients_are_drawn_with_their_probabilities():
    """Pairs are independent as well: the sizes of rounds vary as sums of coins do."""
    q = np.array([0.0, 1e-3, 0.05, 0.19, 0.2, 0.21, 0.6, 1.0])
    others = np.minimum(q * np.array([1, 9, 2, 0.5, 1, 2, 0.1, 1]), 1.0)
    num_rounds = 40_000
    rng = np.random.default_rng(5)
    (both,) = round_time.common_draws([q, others], num_rounds, rng)
    for wanted, draws in zip((q, others), both, strict=True):
        found = np.bincount(draws.client_index, minlength=8) / num_rounds
        error = np.sqrt(wanted * (1 - wanted) / num_rounds)
        assert np.all(np.abs(found - wanted) <= 4 * error + 1e-12)
        sizes = np.bincount(draws.round_index, minlength=num_rounds)
        assert sizes.var() == pytest.approx(np.sum(wanted * (1 - wanted)), rel=0.05)
