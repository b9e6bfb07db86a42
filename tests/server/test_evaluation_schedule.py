"""When versions are evaluated: by rounds, by the clock, and near a target."""

import math
from itertools import pairwise

import pytest

from fl.contract import Score
from netsim import load_run
from netsim.core.clock import NS_PER_S
from netsim.core.streams import stream
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
from netsim.errors import InputError
from netsim.learner.evaluation_schedule import (
    MAX_MARKS,
    EvaluationSchedule,
    Examined,
    Marks,
)
from netsim.learner.stop import Target, smoothed
from netsim.report.run_facts import headline
from netsim.study.outcomes import outcomes
from netsim.verify import verify

SERVERS = {
    "synchronous": (),
    "deadline": (
        "server={kind: deadline, deadline: 260 ms, announce_time: 1 ms, "
        "merge_time: 0 s, sampling: {kind: uniform, num_drawn: 6}}",
    ),
    "buffered": (
        "server={kind: buffered, concurrency: 6, buffer_size: 3, merge_time: 5 ms}",
        "cell.downlink={band: 10 MHz, radio: {kind: fixed-power}, "
        "mode: unicast, sharing: processor-sharing}",
        "cell.uplink.sharing=processor-sharing",
    ),
}
MARK_NS = NS_PER_S // 10


def scenario(*overrides):
    base = ("stop.rounds=4", "learning.training.local_steps=1")
    return read_scenario(find_scenario("quickstart"), (*base, *overrides))


def evaluation(text):
    return "learning.evaluation={" + text + "}"


@pytest.mark.parametrize("server", SERVERS)
def test_marks_score_the_version_in_force_and_move_no_event(server, tmp_path):
    dense = run_scenario(scenario(*SERVERS[server]), tmp_path / "dense")
    marked = scenario(*SERVERS[server], evaluation("at: 100 ms"))
    manifest = run_scenario(marked, tmp_path / "marked")
    run, reference = load_run(tmp_path / "marked"), load_run(tmp_path / "dense")
    assert manifest.network_digest == dense.network_digest
    assert manifest.adapter_digest == dense.adapter_digest
    assert manifest.final == dense.final
    assert verify(tmp_path / "marked") == []
    evals, ends = run.evals, reference.rounds.end_ns.tolist()
    marks = range(MARK_NS, manifest.sim_time_ns, MARK_NS)
    assert evals.time_ns.tolist() == [0, *marks, manifest.sim_time_ns]
    in_force = [sum(end <= mark for end in ends) for mark in marks]
    assert evals.round_id.tolist() == [0, *in_force, manifest.rounds]
    known = reference.evals.set_index("round_id").loss
    assert evals.loss.tolist() == known.loc[evals.round_id].tolist()


def test_marks_and_rounds_go_together(tmp_path):
    run_scenario(scenario(evaluation("every: 2, at: 100 ms")), tmp_path)
    run = load_run(tmp_path)
    ends = run.rounds.set_index("round_id").end_ns
    marks = set(range(MARK_NS, int(ends.iloc[-1]), MARK_NS))
    assert run.evals.time_ns.tolist() == sorted({0, ends[2], ends[4]} | marks)


def test_a_round_that_ends_at_a_mark_is_scored_once(tmp_path):
    timed = (
        "cell.downlink.band=1 GHz",
        "server={kind: deadline, deadline: 100 ms, announce_time: 1 ms, "
        "merge_time: 0 s, sampling: full}",
        "cell.uplink.band=1 kHz",  # nobody is in time: every round ends at a mark
    )
    run_scenario(scenario(*timed, evaluation("every: 2, at: 100 ms")), tmp_path)
    run = load_run(tmp_path)
    assert run.rounds.end_ns.tolist() == [MARK_NS * n for n in (1, 2, 3, 4)]
    assert run.evals.time_ns.tolist() == [MARK_NS * n for n in range(5)]
    assert run.evals.round_id.tolist() == [0, 1, 2, 3, 4]


def test_a_target_met_at_a_mark_ends_the_run_with_its_round(tmp_path):
    stop = "stop={rounds: 9, target: {level: 0.1}}"
    manifest = run_scenario(scenario(stop, evaluation("at: 1 ms")), tmp_path)
    assert manifest.rounds == 1
    assert load_run(tmp_path).events.detail.tolist() == ["target"]


def test_near_a_target_every_round_is_scored(tmp_path):
    run_scenario(scenario("learning.training.local_steps=5"), tmp_path / "dense")
    accuracy = load_run(tmp_path / "dense").evals.accuracy.tolist()
    assert accuracy[2] > accuracy[0]
    stop = "stop={rounds: 4, target: {level: 0.99}}"
    near = evaluation(f"every: 2, near: {0.99 - accuracy[2]}")
    config = scenario(stop, "learning.training.local_steps=5", near)
    run_scenario(config, tmp_path / "near")
    assert load_run(tmp_path / "near").evals.round_id.tolist() == [0, 2, 3, 4]


def test_marks_by_hand():
    marks, schedule = Marks(), EvaluationSchedule(at_s=2.0)
    second = NS_PER_S
    assert list(marks.passed(schedule, 0)) == []
    assert list(marks.passed(schedule, 2 * second)) == []  # the next version has it
    assert list(marks.passed(schedule, 5 * second)) == [2 * second, 4 * second]
    assert list(marks.passed(schedule, 6 * second)) == []
    assert list(marks.passed(schedule, 6 * second + 1)) == [6 * second]
    with pytest.raises(InputError, match="make it longer"):
        list(marks.passed(schedule, 3 * MAX_MARKS * second))


@pytest.mark.parametrize(
    ("metric", "values", "lack"),
    [
        ("accuracy", [0.5, 0.875], 0.0625),
        ("loss", [1.5, 1.25], 0.3125),
        ("accuracy", [], float("inf")),
        ("accuracy", [float("nan")], float("inf")),
    ],
)
def test_the_distance_to_a_target(metric, values, lack):
    target = Target(metric=metric, level=0.9375)
    scores = [Score("test", 1, value, value) for value in values]
    others = [Score("local-global", 1, 0.0, 1.0, client_id=3)]
    assert target.distance([*scores, *others]) == lack
    assert target.met([target.value([*scores, *others])]) == [False]


def test_a_target_over_several_evaluations_by_hand():
    rising = [0.5, 0.75, 1.0, 0.25, 1.0, 1.0]  # means of two: 0.625, 0.875, 0.625 ...
    assert Target(level=0.75).met(rising) == [False, True, True, False, True, True]
    over_two = Target(level=0.75, over=2)
    assert over_two.met(rising) == [False, False, True, False, False, True]
    assert Target(level=0.25, over=7).met(rising) == [False] * 6  # too few
    falling = Target(metric="loss", level=0.75, over=2)
    assert falling.met(rising) == [False, True, False, True, True, False]
    assert smoothed([1.0, math.nan, 3.0, 5.0], 2)[3] == 4.0
    assert over_two.met([1.0, math.nan, 1.0, 1.0]) == [False, False, False, True]


def test_the_mean_of_evaluations_ends_a_run_and_is_found_again(own_store, tmp_path):
    short = ("learning.training.local_steps=5", "population.num_clients=5")
    run_scenario(scenario("stop={rounds: 6}", *short), tmp_path / "whole")
    values = load_run(tmp_path / "whole").global_evals().accuracy.tolist()
    means = smoothed(values, 3)
    level = means[4]
    wanted = next(n for n, mean in enumerate(means) if mean >= level)
    stop = f"stop={{rounds: 6, target: {{level: {level!r}, over: 3}}}}"
    manifest = run_scenario(scenario(stop, *short), tmp_path / "run")
    run = load_run(tmp_path / "run")
    assert manifest.rounds == wanted <= 4
    assert verify(tmp_path / "run") == []
    assert run.time_to("accuracy", level, over=3).value == run.evals.time_ns.max()
    assert outcomes(run, [Target(level=level, over=3)])[0].rounds == wanted
    assert "in the mean of 3 evaluations was reached" in headline(run)[0]


def test_a_target_on_the_validation_split_ends_a_run(own_store, tmp_path):
    aside = evaluation("validation: 0.25, average: 0.5")
    short = ("learning.training.local_steps=5", "population.num_clients=5", aside)
    run_scenario(scenario("stop={rounds: 6}", *short), tmp_path / "whole")
    whole = load_run(tmp_path / "whole")
    held, test = whole.global_evals("validation"), whole.global_evals()
    assert held.time_ns.tolist() == test.time_ns.tolist()
    sizes = held.num_samples.iloc[0], test.num_samples.iloc[0]
    assert sizes == (round(0.25 * sum(sizes)), sum(sizes) - sizes[0])
    assert held.loss.tolist() != test.loss.tolist()
    assert whole.manifest.final["loss"] == test.loss.iloc[-1]
    level = held.loss.tolist()[3]
    wanted = next(n for n, loss in enumerate(held.loss) if loss <= level)
    target = f"{{metric: loss, split: validation, level: {level!r}}}"
    stop = f"stop={{rounds: 6, target: {target}}}"
    manifest = run_scenario(scenario(stop, *short), tmp_path / "run")
    run = load_run(tmp_path / "run")
    assert (manifest.rounds, manifest.steps_trained) == (wanted, 0)
    assert verify(tmp_path / "run") == verify(tmp_path / "whole") == []
    asked = Target(metric="loss", split="validation", level=level)
    found = outcomes(run, [asked])[0]
    assert (found.rounds, found.target) == (wanted, f"validation loss {level}")
    assert found.time_ns == run.time_to("loss", level, split="validation").value
    then = f"test split was {test.accuracy.iloc[wanted]:.3g} then"
    assert then in headline(run)[0]
    with pytest.raises(InputError, match=r"target\.split: needs `learning\.evalu"):
        scenario(stop)


def test_defaults_and_what_contradicts_itself():
    assert EvaluationSchedule().every == 1
    assert EvaluationSchedule(at_s=60.0).every is None
    assert EvaluationSchedule(at_s=60.0, every=5).every == 5
    for text, message in (
        ("near: 0.1", "near adds nothing"),
        ("every: null, near: 0.1", "near needs `every` or `at`"),
        ("every: 5, near: 0.1", r"needs `stop\.target`"),
        ("every: 0", "must be at least 1"),
        ("at: 1 us", "must be at least 0.001"),
        ("at: 60", "needs a unit, such as '90 s', got 60$"),
        ("clients: {count: 2, ids: [1]}", "both choose the clients"),
        ("clients: {ids: [1, 1]}", "must be different"),
        ("clients: {ids: [20]}", "from 0 to 19, got 20"),
    ):
        with pytest.raises(InputError, match=message):
            scenario(evaluation(text))


def test_only_the_first_and_the_final_version(tmp_path):
    run_scenario(scenario(evaluation("every: null")), tmp_path)
    assert load_run(tmp_path).evals.round_id.tolist() == [0, 4]


def test_a_count_of_clients_is_drawn_again_each_round():
    arrived = list(range(10))
    draws = [
        Examined(count=3).chosen(arrived, stream(1, "examined clients", round_id))
        for round_id in range(30)
    ]
    assert {len(draw) for draw in draws} == {3}
    assert set().union(*draws) == set(arrived)
    assert any(before != after for before, after in pairwise(draws))
    assert Examined(ids=(2, 30)).chosen(arrived, stream(1)) == {2}
    assert Examined(count=30).chosen(arrived, stream(1)) == set(arrived)


@pytest.mark.parametrize(
    ("metric", "level", "message"),
    [
        ("accuracy", 90.0, "a share of right answers lies in 0 to 1"),
        ("exact_match", -0.1, "a share of right answers lies in 0 to 1"),
        ("loss", -1.0, "level of loss cannot be met below 0, got -1.0"),
        ("perplexity", 0.9, "level of perplexity cannot be met below 1, got 0.9"),
    ],
)
def test_a_level_that_nothing_can_meet_is_refused(metric, level, message):
    with pytest.raises(ValueError, match=message):
        Target(metric=metric, level=level)
