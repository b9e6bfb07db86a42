"""The protocol of the policy's evidence: its rules, its statistics, and its table."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from netsim.study.design import combinations
from netsim.study.plan import read_study

FOLDER = Path(__file__).parents[2] / "results" / "policy"


@pytest.fixture
def evidence(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import evidence

    return evidence


@pytest.fixture
def tables(evidence):
    import evidence_tables

    return evidence_tables


def row(arm, rate, seed, time_s, stage="tuning", is_reached=True):
    values = (stage, "f", arm, rate, seed, time_s, is_reached, 9, 0.9, 0.5, 1.0)
    columns = "stage fleet arm rate seed time_s is_reached rounds accuracy area cpu_s"
    return dict(zip(columns.split(), values, strict=True))


def test_the_rows_so_far_are_runs_of_the_protocol_and_none_is_judged_untuned(evidence):
    done = evidence.known()
    assert not done.duplicated(evidence.KEYS).any()
    config, _ = read_study(FOLDER / "evidence.yaml")
    known = {tuple(one.choice.values()) for one in combinations(config)}
    assert (
        set(done[["fleet", "arm", "rate"]].itertuples(index=False, name=None)) <= known
    )
    for stage, seeds in (("tuning", evidence.TUNING), ("judging", evidence.JUDGING)):
        assert set(done[done.stage == stage].seed) <= set(seeds)
    for fleet, judged in done[done.stage == "judging"].groupby("fleet"):
        taken = set(evidence.chosen(done, fleet).values())
        assert set(judged[["arm", "rate"]].itertuples(index=False, name=None)) <= taken


def test_tuning_goes_on_with_what_is_near_and_takes_the_best_of_three(evidence):
    first = [("q: 0.1", "1", 10.0), ("q: 0.2", "1", 14.0), ("q: 0.3", "1", 16.0)]
    done = pd.DataFrame([row(arm, rate, 101, t) for arm, rate, t in first])
    stays = [evidence.stays(done, "f", arm, rate) for arm, rate, _ in first]
    assert stays == [True, True, False]
    assert evidence.cap(done, "f", "q: 0.3", 101) == "stop.time=20 s"
    assert evidence.cap(done, "f", "K: 5", 101) is None
    assert evidence.chosen(done, "f") == {}
    more = [("q: 0.1", 102, 30.0), ("q: 0.1", 103, 30.0)]
    more += [("q: 0.2", 102, 12.0), ("q: 0.2", 103, 12.0)]
    done = pd.concat([done, pd.DataFrame([row(a, "1", s, t) for a, s, t in more])])
    assert evidence.chosen(done, "f") == {"q": ("q: 0.2", "1")}
    done.loc[(done.arm == "q: 0.2") & (done.seed == 103), "is_reached"] = False
    assert evidence.chosen(done, "f") == {"q": ("q: 0.1", "1")}


def test_errors_of_forecasts_are_relative_to_the_time_that_came(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import forecasts

    table = pd.DataFrame(
        {
            "seed": [1, 1, 2],
            "round_id": [10, 40, 13],
            "predicted_s": [15.0, 9.0, 40.0],
            "error_s": [2.0, 1.0, 30.0],
            "met_s": [10.0, 10.0, 20.0],
        }
    )
    found = forecasts.errors(table)
    early, late, every = (found.loc[one] for one in ("(9, 18]", "(36, 1000]", "all"))
    assert (early.forecasts, late.forecasts, every.forecasts) == (2, 1, 3)
    assert early.median_error == pytest.approx((0.5 + 1.0) / 2)
    assert late.median_error == pytest.approx(0.1)
    assert every.median_error_of_guess == pytest.approx(1.0)  # 20 s for 10 s, twice
    assert every.within_two_errors == pytest.approx(2 / 3)


def test_all_sign_flips_agree_with_scipy(tables):
    logs = np.random.default_rng(1).normal(0.2, 0.3, 8)
    found = stats.permutation_test((logs,), np.mean, permutation_type="samples")
    assert tables.sign_flip_p(logs) == pytest.approx(found.pvalue, abs=1e-9)


def test_speed_ups_are_paired_and_have_no_interval_below_five_seeds(tables):
    times = {"uniform q": [10.0, 20.0, 40.0, 5.0, 8.0], "joint": [5, 8, 25, 3, 5]}
    arms = {"uniform q": "uniform q: 0.1", "joint": "joint: plain"}
    rows = [
        row(arms[name], "1", seed, float(t), "judging")
        for name, own in times.items()
        for seed, t in enumerate(own, start=1)
    ]
    found = tables.speedups(pd.DataFrame(rows)).set_index("family").loc["joint"]
    logs = np.log(np.divide(times["uniform q"], times["joint"]))
    assert found.times == pytest.approx(math.exp(logs.mean()))
    low, high = stats.t.interval(0.95, 4, logs.mean(), stats.sem(logs))
    assert (found["from"], found["to"]) == pytest.approx(
        (math.exp(low), math.exp(high)), rel=1e-3
    )
    assert found.p == pytest.approx(2 / 2**5)
    few = pd.DataFrame([one for one in rows if one["seed"] < 5])
    assert not {"from", "to"} & set(tables.speedups(few).columns)
