"""A study's statistics on made-up outcomes whose answers are known."""

import numpy as np
import pandas as pd
import pytest

from netsim.study.statistics import (
    Sample,
    horizon,
    paired_ratio,
    restricted_mean,
    restricted_ratio,
)
from netsim.study.student import MIN_SEEDS, holm, p_value, quantile, seeds_needed
from netsim.study.summary import evidence, sentence, summarise


def sample(*values, censored=()):
    known = [index not in censored for index in range(len(values))]
    return Sample(np.array(values, float), np.array(known))


def rng():
    return np.random.default_rng(7)


def test_a_constant_ratio_has_no_spread():
    ratio = paired_ratio(sample(2, 4, 6, 8, 10), sample(1, 2, 3, 4, 5), rng())
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((2, 2, 2))
    assert (ratio.t_low, ratio.t_high, ratio.spread) == pytest.approx((2, 2, 0))
    assert ratio.p < 1e-12
    assert ratio.bound == "exact"


def test_the_ratio_is_the_geometric_mean_over_pairs():
    ratio = paired_ratio(sample(8, 2), sample(1, 1), rng())
    assert ratio.value == pytest.approx(4)
    assert (ratio.least, ratio.most) == pytest.approx((2, 8))


def test_pairing_cancels_what_seeds_have_in_common():
    over, under = 100.0 ** np.arange(5), 2 * 100.0 ** np.arange(5)
    paired = paired_ratio(sample(*over), sample(*under), rng())
    assert paired.high - paired.low < 1e-12
    crossed = paired_ratio(sample(*over), sample(*np.roll(under, 2)), rng())
    assert crossed.value == pytest.approx(paired.value)
    assert crossed.high / crossed.low > 10


def test_student_s_t_is_that_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    for df in (1, 2, 3, 4, 7, 30, 101, 5000):
        for t in (0, 0.3, 2.7, 40):
            assert p_value(t, df) == pytest.approx(2 * stats.t.sf(t, df), abs=1e-12)
        for share in (0.8, 0.975, 0.999):
            assert quantile(share, df) == pytest.approx(stats.t.ppf(share, df))
    over, under = sample(5, 9, 4, 7, 3, 8), sample(4, 7, 4, 5, 2, 5)
    logs = np.log(over.values / under.values)
    ratio, test = paired_ratio(over, under, rng()), stats.ttest_1samp(logs, 0)
    assert ratio.p == pytest.approx(test.pvalue)
    interval = test.confidence_interval(0.95)
    assert (ratio.t_low, ratio.t_high) == pytest.approx(
        (np.exp(interval.low), np.exp(interval.high))
    )
    assert ratio.spread == pytest.approx(logs.std(ddof=1))


def test_holm_raises_the_smallest_most_and_keeps_the_order():
    p = [0.01, 0.04, 0.03, float("nan"), 0.005]
    assert holm(p) == pytest.approx([0.03, 0.06, 0.06, np.nan, 0.02], nan_ok=True)
    assert holm([0.6, 0.7]) == [1.0, 1.0]


def test_the_seeds_that_are_needed_give_the_power_that_is_asked_for():
    stats = pytest.importorskip("scipy.stats")
    spread, difference = 0.3, 0.2
    num = seeds_needed(spread, difference)
    effect = np.log(1 + difference) / spread

    def power(seeds):
        critical = stats.t.ppf(0.975, seeds - 1)
        return stats.nct.sf(critical, seeds - 1, effect * np.sqrt(seeds))

    assert power(num - 2) < 0.8 <= power(num + 1)
    assert seeds_needed(0.0, 0.05) == MIN_SEEDS


@pytest.mark.parametrize(
    ("over", "under", "bound", "value"),
    [
        (sample(4, 9, censored=[1]), sample(1, 4), "at least", 3),
        (sample(4, 9), sample(1, 4, censored=[0]), "at most", 3),
        (sample(4, 9, censored=[0]), sample(1, 4, censored=[1]), "unknown", np.nan),
        (sample(4, 9, censored=[0]), sample(1, 4, censored=[0]), "unknown", np.nan),
        (sample(0, 9), sample(1, 4), "unknown", np.nan),
        (sample(), sample(), "unknown", np.nan),
    ],
)
def test_a_censored_pair_gives_a_bound_on_its_own_side(over, under, bound, value):
    ratio = paired_ratio(over, under, rng())
    assert ratio.bound == bound
    assert ratio.value == pytest.approx(value, nan_ok=True)


def test_the_bound_holds_whatever_the_censored_value_truly_is():
    known, under = sample(4, 9, 2), sample(1, 4, 1)
    cut = paired_ratio(sample(4, 5, 2, censored=[1]), under, rng())
    assert cut.bound == "at least"
    assert cut.value < paired_ratio(known, under, rng()).value


@pytest.mark.parametrize("num", [1, 2, 3, 4])
def test_fewer_than_five_seeds_have_no_interval(num):
    ratio = paired_ratio(sample(*range(3, 3 + num)), sample(*[1] * num), rng())
    assert ratio.least == pytest.approx(3)
    assert np.isnan([ratio.low, ratio.high, ratio.t_low, ratio.t_high, ratio.p]).all()
    assert np.isnan(ratio.spread) == (num == 1)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    draws = np.random.default_rng(3)
    inside = 0
    for _ in range(200):
        over = Sample(np.exp(draws.normal(0.5, 0.3, 20)), np.ones(20, bool))
        ratio = paired_ratio(over, sample(*np.ones(20)), draws)
        inside += ratio.low <= np.exp(0.5) <= ratio.high
    assert 0.87 <= inside / 200 <= 0.99


def test_without_censoring_the_restricted_mean_is_the_mean_of_the_cut_values():
    assert restricted_mean(sample(1, 2, 6), 6) == pytest.approx(3)
    assert restricted_mean(sample(1, 2, 6), 3) == pytest.approx(2)


def test_the_restricted_mean_is_the_area_under_the_kaplan_meier_curve():
    # the textbook's steps: S = 1 to 1, 3/4 to 3 (2 is censored), 3/8 to 4
    drawn = sample(1, 2, 3, 4, censored=[1, 3])
    assert restricted_mean(drawn, 4) == pytest.approx(1 + 2 * 0.75 + 1 * 0.375)
    assert restricted_mean(drawn, 2.5) == pytest.approx(1 + 1.5 * 0.75)


def test_a_censored_time_at_an_event_is_still_at_risk_there():
    drawn = sample(2, 2, 4, censored=[1])
    assert restricted_mean(drawn, 4) == pytest.approx(2 + 2 * 2 / 3)


def test_the_horizon_ends_where_somebody_stopped_watching():
    assert horizon(sample(1, 5), sample(2, 9)) == 9
    assert horizon(sample(1, 5, censored=[1]), sample(2, 9)) == 5
    assert horizon(sample(1, 5, censored=[0]), sample(2, 9, censored=[1])) == 9
    assert horizon(sample(1, 5, censored=[0, 1]), sample(2, 4, censored=[1])) == 4


def test_runs_that_never_get_there_are_not_dropped():
    slow, quick = sample(4, 4, 10, 10, 10, 10, censored=[2, 3, 4, 5]), sample(*[4] * 6)
    ratio = restricted_ratio(slow, quick, rng())
    assert ratio.value == pytest.approx(8 / 4)
    assert 1 <= ratio.low < ratio.value < ratio.high <= 2.5


def table(**arms):
    rows = []
    for variant, cells in arms.items():
        for seed, (seconds, is_reached, joules) in enumerate(cells):
            rows.append(
                {
                    "variant": variant,
                    "baseline": "uniform",
                    "seed": seed,
                    "status": "complete",
                    "target": "accuracy 0.9",
                    "is_reached": is_reached,
                    "time_ns": int(seconds * 1e9),
                    "rounds": 5,
                    "upload_bits": 100,
                    "download_bits": 100,
                    "energy_j": joules,
                }
            )
    return pd.DataFrame(rows)


def lines(frame):
    return [sentence(row) for _, row in summarise(frame).iterrows()]


def test_the_sentences_say_speed_interval_and_cost():
    uniform = [(10, True, 2.0), (12, True, 2.0), (14, True, 2.0)]
    joint = [(5, True, 1.4), (6, True, 1.4), (7, True, 1.4)]
    baseline, faster = lines(table(uniform=uniform, joint=joint))
    assert baseline == "uniform: the baseline, mean 12 s"
    assert faster == (
        "joint: 2x faster than uniform (3 seeds, 2 to 2), 0.7x the energy, 1x the bits"
    )


def test_of_five_seeds_both_intervals_are_said():
    uniform = [(t, True, 2.0) for t in (10, 12, 14, 10, 12)]
    joint = [(t, True, 2.0) for t in (5, 6, 7, 10, 4)]
    frame = table(uniform=uniform, joint=joint, same=uniform)
    _, faster, _ = lines(frame)
    assert faster == (
        "joint: 1.9x faster than uniform (95 %: 1.2 to 3.1 by Student's t, 1.3 to 2.6 "
        "by bootstrap), 1x the energy, 1x the bits"
    )
    assert list(evidence(summarise(frame))) == [
        "1 of 2 comparisons differ from the baseline (Student's t, Holm's correction, "
        "p < 0.05)",
        "seeds that would show a difference of 5, 10, 20 % in time (power 80 %): "
        "520, 138, 40 for joint, the widest spread",
    ]


def test_of_few_seeds_no_share_of_95_percent_is_said():
    three = [(10, True, 2.0), (12, True, 2.0), (14, True, 2.0)]
    quick = [(5, True, 2.0), (6, True, 2.0), (9, True, 2.0)]
    frame = table(uniform=three, quick=quick)
    said = [*lines(frame), *evidence(summarise(frame))]
    assert "95 %" not in " ".join(said)
    assert "no interval: fewer than 5 seeds" in said


def test_the_sentences_state_what_censoring_leaves_unknown():
    uniform = [(10, True, 2.0), (12, True, 2.0), (14, True, 2.0)]
    never = [(20, True, 2.0), (24, False, 2.0), (28, False, 2.0)]
    _, bounded = lines(table(uniform=uniform, never=never))
    assert bounded == (
        "never: at most 0.5x as fast as uniform (3 seeds, 0.5 to 0.5), at least 1x "
        "the energy, at least 1x the bits; got there in 1 of 3 seeds"
    )
    uniform[1] = (30, False, 2.0)
    _, restricted = lines(table(uniform=uniform, never=never))
    assert "in the first 28 s a mean of 25.3 s against 17.3 s of uniform" in restricted


def test_failed_and_unpaired_seeds_are_left_out_and_counted():
    uniform = [(10, True, 2.0), (12, True, 2.0), (14, True, 2.0)]
    frame = table(uniform=uniform, joint=uniform[:2])
    frame.loc[0, "status"] = "failed"
    found = summarise(frame).set_index("variant")
    assert found.loc["joint", "num_seeds"] == 1
    assert found.loc["uniform", "num_seeds"] == 2
    assert found.loc["joint", "speedup"] == pytest.approx(1)
