"""Searches: refused as a whole, the same whoever runs them, unharmed by a kill."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from netsim.cosim import run as cosim_run
from netsim.cosim import shipped
from netsim.cosim.workers import Workers
from netsim.errors import InputError
from netsim.runs.run import load_run
from netsim.scenario import load_text
from netsim.study import work
from netsim.tune import run as tuning
from netsim.tune.plan import plan_tune
from netsim.tune.run import carry_out_search
from netsim.tune.search import Limit, Setting, TuneConfig, read_limit
from netsim.tune.trials import Measured, TrialRow, best, measured, sentence
from tests.support.command import netsim
from tests.support.rule import RULE

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quickstart_base", "own_cache")]

optuna = pytest.importorskip("optuna", reason="needs the extra `tune`")

NETWORK = """\
name: tiny
scenario: network-only
overrides: [stop.rounds=2, population.num_clients=4]
search:
  cell.uplink.band: {low: 1 MHz, high: 10 MHz, log: true}
  cell.uplink.sharing: {choices: [processor-sharing, {kind: tdma-first-come}]}
  population.num_clients: {low: 3, high: 6}
objective: least time
constraints: [energy per client <= 40 J]
trials: 6
seeds: [1, 2]
startup: 3
"""


def written(tmp_path, text=NETWORK):
    path = tmp_path / "tiny.yaml"
    path.write_text(text)
    return path


def changed(before, after):
    assert before in NETWORK
    return NETWORK.replace(before, after, 1)


def searched(tmp_path, out, text=NETWORK, **more):
    plan = plan_tune(written(tmp_path, text), tmp_path, tmp_path / out)
    return carry_out_search(plan, **more), plan


def trials(tmp_path, out):
    return pd.read_parquet(tmp_path / out / "trials.parquet")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        rows, plan = searched(folder, "tune")
    return rows, plan


def test_every_trial_is_a_row_and_the_scenario_as_it_is_the_first(whole):
    _, plan = whole
    table = pd.read_parquet(plan.folder / "trials.parquet")
    assert list(table.trial) == list(range(7))
    assert table["cell.uplink.band"].isna().tolist() == [True] + 6 * [False]
    run = load_run(plan.run_folder(3, 2))
    other = load_run(plan.run_folder(3, 1))
    ends = [one.manifest.sim_time_ns / 1e9 for one in (run, other)]
    assert table.time_s[3] == pytest.approx(np.mean(ends))
    scenario = (run.folder / "scenario.yaml").read_text()
    assert f"num_clients: {table['population.num_clients'][3]}" in scenario


def test_the_best_keeps_all_limits_and_runs_as_it_is(whole, tmp_path):
    rows, plan = whole
    table = pd.read_parquet(plan.folder / "trials.parquet")
    kept = table[table.is_feasible]
    assert len(kept) > 0
    assert (kept.energy_per_client_j <= 40).all()
    found = best(rows, plan.config)
    assert found.trial == kept.loc[kept.value.idxmin()].trial
    out = tmp_path / "best"
    assert netsim("run", plan.folder / "best.yaml", "--quiet", "--out", out) == 0
    again = load_run(plan.run_folder(found.trial, 1)).manifest
    assert load_run(out).manifest.digest == again.digest


def test_the_energy_is_that_of_the_client_that_used_the_most(whole):
    run = load_run(whole[1].run_folder(1, 1))
    columns = ["compute_energy_j", "transmit_energy_j", "idle_energy_j"]
    by_client = run.tasks.groupby("client_id")[columns].sum().sum(axis=1)
    found = measured(run, None).values
    assert found["energy per client"] == pytest.approx(by_client.max())
    assert found["energy"] == pytest.approx(by_client.sum())


def test_side_by_side_trials_do_not_depend_on_the_workers(tmp_path):
    text = NETWORK.replace("trials: 6", "trials: 4\nbatch: 2")
    searched(tmp_path, "alone", text)
    searched(tmp_path, "two", text, workers=Workers(2))
    pd.testing.assert_frame_equal(trials(tmp_path, "alone"), trials(tmp_path, "two"))


def test_more_trials_go_on_where_the_search_stopped(whole, tmp_path):
    few = changed("trials: 6", "trials: 4")
    searched(tmp_path, "tune", few)
    told = []
    searched(tmp_path, "tune", tell=told.append)
    assert [row.trial for row in told] == [5, 6]
    expected = pd.read_parquet(whole[1].folder / "trials.parquet")
    pd.testing.assert_frame_equal(trials(tmp_path, "tune"), expected)


def test_a_killed_search_goes_on_to_the_same_table(whole, tmp_path, capsys):
    path, folder = written(tmp_path), tmp_path / "tune"
    code = "from netsim.cli import main; main()"
    search = subprocess.Popen(
        [sys.executable, "-c", code, "tune", path, "--out", folder, "--quiet"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.DEVNULL,
    )
    deadline_s = time.monotonic() + 300
    while not (folder / "runs" / "003").exists():
        assert search.poll() is None, "it ended before it was killed"
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    search.send_signal(signal.SIGKILL)
    search.wait()
    with (folder / "trials.journal").open("ab") as journal:
        journal.write(b'{"op_code": 5, "torn')
    assert netsim("tune", path, "--out", folder, "--json") == 0
    printed = capsys.readouterr()
    assert "1/6" not in printed.err
    assert "6/6" in printed.err
    said = json.loads(printed.out.splitlines()[-1])
    assert said["trials"] == 6
    expected = pd.read_parquet(whole[1].folder / "trials.parquet")
    assert said["feasible"] == expected.is_feasible[1:].sum()
    assert expected.is_feasible[0]  # the scenario as it is, which is no trial
    pd.testing.assert_frame_equal(trials(tmp_path, "tune"), expected)


def test_a_disk_that_fails_ends_a_search_which_then_goes_on(
    whole, tmp_path, monkeypatch
):
    """A trial is not judged by what happened to its files."""
    once = iter([None, None, None, OSError(28, "No space left on device")])

    def run_scenario(*args, **kwargs):
        if error := next(once, None):
            raise error
        return cosim_run.run_scenario(*args, **kwargs)

    monkeypatch.setattr(work, "run_scenario", run_scenario)
    with pytest.raises(InputError, match=r"trial 1: .*No space left"):
        searched(tmp_path, "tune")
    assert len(trials(tmp_path, "tune")) == 1
    assert not list((tmp_path / "tune").glob("*.lock*"))
    assert searched(tmp_path, "tune")[0] == whole[0]


def test_a_search_finds_what_chance_alone_does_not(tmp_path):
    """Least bits are those of the fewest clients, whatever the band."""
    text = changed("objective: least time", "objective: least bits")
    text = text.replace("low: 3, high: 6", "low: 2, high: 40")
    text = text.replace("trials: 6", "trials: 14").replace(
        "seeds: [1, 2]", "seeds: [1]"
    )
    rows, plan = searched(tmp_path, "tune", text)
    tried = [int(row.settings["population.num_clients"]) for row in rows[1:]]
    assert np.mean(tried[8:]) < np.mean(tried[:3])
    assert best(rows, plan.config).trial != 0


def test_settings_that_do_not_go_together_are_refused_and_the_search_goes_on(tmp_path):
    text = """\
name: buffers
scenario: network-only
overrides:
  - stop.rounds=2
  - population.num_clients=6
  - "server={kind: buffered, concurrency: 4, buffer_size: 2, merge_time: 0 s}"
  - "cell.downlink.mode=unicast"
  - "cell.downlink.sharing=processor-sharing"
search:
  server.concurrency: {low: 2, high: 4}
  server.buffer_size: {low: 2, high: 4}
objective: least time
trials: 8
seeds: [1]
sampler: random
search_seed: 2
"""
    rows, _ = searched(tmp_path, "tune", text)
    refused = [row for row in rows if row.status == "refused"]
    assert refused
    assert len(rows) == 9
    assert "buffer_size must not exceed concurrency" in refused[0].reason
    for row in refused:
        assert int(row.settings["server.buffer_size"]) > int(
            row.settings["server.concurrency"]
        )


LEARNING = """\
name: learned
scenario: quickstart
overrides:
  - stop.rounds=3
  - population.num_clients=4
  - "learning.backbone={kind: small-vit, pretrain_steps: 0}"
search: {learning.training.local_steps: {low: 1, high: 4}}
objective: least time to target
target: {metric: loss, level: 2.5}
trials: 2
seeds: [1]
"""


def test_a_run_ends_at_the_target_and_one_that_never_meets_it_does_not_count(tmp_path):
    rows, plan = searched(tmp_path, "tune", LEARNING)
    for row in rows:
        assert row.is_feasible(plan.config) == row.runs[0].is_reached
    run = load_run(plan.run_folder(0, 1))
    assert "level: 2.5" in (run.folder / "scenario.yaml").read_text()
    never = LEARNING.replace("2.5", "0.001")
    rows, plan = searched(tmp_path, "never", never)
    assert best(rows, plan.config) is None
    assert not (plan.folder / "best.yaml").exists()
    assert "none of 3 trials keeps to it" in sentence(rows, plan.config)
    assert netsim("tune", written(tmp_path, never), "--out", plan.folder) == 1


WRONG = {
    "unknown measure": (
        changed("energy per client <=", "energi per client <="),
        "constraints.0: nothing is called 'energi per client', did you mean",
    ),
    "wrong unit of a limit": (changed("40 J", "40 MHz"), "unknown unit 'MHz'"),
    "no limit": (changed("energy per client <= 40 J", "cheap"), "must be of the form"),
    "ends of two units": (changed("1 MHz", "1 kHz"), "needs ends of one unit"),
    "ends the wrong way": (changed("low: 3, high: 6", "low: 6, high: 3"), "below high"),
    "a wrong end": (
        changed("low: 1 MHz, high: 10 MHz", "low: 1 MB, high: 10 MB"),
        ":5:27: cell.uplink.band=1 MB: cell.uplink.band: unknown unit 'MB'",
    ),
    "an unknown path": (
        changed("population.num_clients: {", "population.num_client: {"),
        ":7:32: population.num_client=3: population: unknown key 'num_client'",
    ),
    "a wrong choice": (
        changed("{kind: tdma-first-come}", "{kind: tdma-first}"),
        "unknown kind 'tdma-first', did you mean 'tdma-first-come'",
    ),
    "a target for nothing": (
        f"{NETWORK}target: {{metric: accuracy, level: 0.9}}\n",
        "target: the objective 'least time' has no use for it",
    ),
    "no target": (
        changed("least time", "least time to target"),
        "the objective 'least time to target' needs a `target`",
    ),
    "nothing learned": (
        changed("least time", "most accuracy"),
        ":8:12: objective: needs learning",
    ),
    "nothing learned by proxy": (
        changed("network-only", "proxy").replace("least time", "most accuracy"),
        "objective: needs learning",
    ),
    "seeds searched": (changed("cell.uplink.band", "seed"), "seeds are listed"),
    "no such scenario": (changed("network-only", "netwrk-only"), "did you mean"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_search_is_refused_before_anything_runs(name, tmp_path, capsys):
    text, expected = WRONG[name]
    path = written(tmp_path, text)
    assert netsim("tune", path, "--out", tmp_path / "tune") == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "tune").exists()


def test_all_that_is_wrong_is_said_at_once(tmp_path):
    text = changed("low: 1 MHz, high: 10 MHz", "low: 1 MB, high: 10 MB")
    text = text.replace("low: 3", "low: -3")
    with pytest.raises(InputError) as caught:
        plan_tune(written(tmp_path, text), tmp_path)
    assert str(caught.value).count("unknown unit 'MB'") == 2
    assert "num_clients: must be at least 1, got -3" in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        (Setting(low="1 MHz", high="9 MHz"), 1.23456, "1.235 MHz"),
        (Setting(low="1 MHz", high="9 MHz"), 2.0, "2 MHz"),
        (Setting(low=0.12345, high=1.0), 0.12345, "0.12345"),
        (Setting(low=1e-5, high=1e-2, log=True), 0.00123456, "0.001235"),
        (Setting(low=1, high=9), 4, "4"),
        (Setting(choices=("a", {"kind": "b"})), "b", '{"kind": "b"}'),
    ],
)
def test_what_is_tried_is_written_as_people_write_it(setting, value, expected):
    assert setting.written(value) == expected


def test_a_limit_says_how_far_beyond_it_a_value_is():
    limit = read_limit("energy per client <= 50 J")
    assert limit == Limit("energy per client", True, 50.0, limit.text)
    assert limit.violation(60.0) == pytest.approx(0.2)
    assert limit.violation(40.0) == pytest.approx(-0.2)
    assert read_limit("accuracy >= 0.9").violation(0.81) == pytest.approx(0.1)
    assert read_limit("bits <= 1 MB").level == 8e6
    assert read_limit("rounds <= 5").violation(float("nan")) == float("inf")
    with pytest.raises(InputError, match=r"accuracy lies in 0 to 1 .*, got '90'"):
        read_limit("accuracy >= 90")


def test_the_best_is_the_one_of_those_that_keep_to_it():
    config = load_text(NETWORK, TuneConfig)

    def row(trial, time_s, energy_j):
        values = {"time": time_s, "energy per client": energy_j}
        return TrialRow(
            trial, "complete", "", {"a": "1"}, (Measured(values, True, 0.0),)
        )

    rows = [row(0, 9.0, 10.0), row(1, 5.0, 41.0), row(2, 7.0, 39.0)]
    assert best(rows, config) is rows[2]
    assert sentence(rows, config) == (
        "least time within energy per client <= 40 J: 7 s with a=1 (trial 2 of 2); "
        "the scenario as it is: 9 s"
    )


def test_another_search_in_the_folder_is_refused(whole, tmp_path):
    searched(tmp_path, "tune", changed("trials: 6", "trials: 1"))
    with pytest.raises(InputError, match="holds another search"):
        searched(tmp_path, "tune", changed("low: 3", "low: 2"))


def test_without_optuna_the_extra_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tuning, "find_spec", lambda name: None)
    path = written(tmp_path)
    assert netsim("tune", path, "--out", tmp_path / "tune") == 2
    assert "pip install -c constraints.txt -e '.[tune]'" in capsys.readouterr().err


def test_shipped_searches_are_sound_and_the_schema_current(capsys):
    for name in shipped.names(shipped.TUNES):
        assert netsim("tune", name, "--dry-run") == 0
    assert netsim("schema", "--tune") == 0
    committed = (shipped.FOLDER / "tune.schema.json").read_text()
    assert capsys.readouterr().out.endswith(committed), "run `make schema`"


def test_a_trial_of_a_class_edited_meanwhile_fails_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "plain.py").write_text(RULE.format(weight=2))

    def edit(row):
        (tmp_path / "plain.py").write_text(RULE.format(weight=3))

    own = changed("[processor-sharing, {kind: tdma-first-come}]", "['plain:Plain']")
    own = own.replace("trials: 6", "trials: 2").replace("startup", "batch: 1\nstartup")
    rows, _ = searched(tmp_path, "out", own, tell=edit)
    sys.modules.pop("plain", None)
    assert [row.status for row in rows] == ["complete", "complete", "failed"]
    assert "plain.py is no longer what this process loaded" in rows[-1].reason


def test_a_search_of_two_programs_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def search(weight):
        (tmp_path / "plain.py").write_text(RULE.format(weight=weight))
        sys.modules.pop("plain", None)
        own = changed("[processor-sharing, {kind: tdma-first-come}]", "['plain:Plain']")
        return searched(tmp_path, "out", own.replace("trials: 6", "trials: 1"))

    rows, _ = search(2)
    assert [row.status for row in rows] == ["complete", "complete"]
    assert [row.settings for row in search(2)[0]] == [row.settings for row in rows]
    with pytest.raises(InputError, match=r"other code made: plain\.py is no longer"):
        search(3)
    sys.modules.pop("plain", None)
