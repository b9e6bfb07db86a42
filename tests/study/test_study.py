"""Studies: refused as a whole, planned before they run, and unharmed by a kill."""

import json
import os
import shlex
import shutil
from pathlib import Path

import pandas as pd
import pytest

import netsim as package
from netsim.cli import study_picture
from netsim.cli.study import TimeLeft, overview
from netsim.cosim import shipped
from netsim.errors import InputError
from netsim.report import libraries
from netsim.runs.manifest import read_manifest
from netsim.scenario import dump, load_text
from netsim.study import StudyConfig, combinations
from netsim.study import plan as study_plan
from netsim.study.run import StudyFailed
from tests.support.command import netsim
from tests.support.studies import TINY, complete, killed_midway, written
from tests.torture.learned import new_cache

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quickstart_base", "own_cache")]


def planned(tmp_path, text=TINY):
    return study_plan.plan_study(written(tmp_path, text), tmp_path / "studies")


def changed(before, after):
    assert before in TINY
    return TINY.replace(before, after, 1)


def test_every_combination_has_every_seed_and_leaders_go_first(tmp_path):
    plan = planned(tmp_path)
    titles = [run.title for run in plan.runs]
    assert titles[:3] == [
        "all, 1 MHz, seed 1",
        "all, 1 MHz, seed 2",
        "all, 2 MHz, seed 1",
    ]
    assert len({run.folder for run in plan.runs}) == 8
    leaders = ["all, 1 MHz", "some, 1 MHz"]
    assert [run.combination.label for run in plan.leaders()[::2]] == leaders
    assert len(plan.followers()) == 4
    assert {run.scenario.seed for run in plan.leaders()} == {1, 2}


def test_a_budget_counts_the_runs_of_what_is_asked_for(tmp_path):
    text = f"{TINY}budget: 4\nonly: {{policy: all}}\n"
    assert len(planned(tmp_path, text).runs) == 4


def test_what_learns_otherwise_shares_nothing(tmp_path):
    deadline = (
        "overrides: ['server={kind: deadline, deadline: 900 ms, announce_time: 1 ms, "
        "merge_time: 0 s, sampling: full}']"
    )
    text = changed("overrides: [server.sampling=full]", deadline)
    plan = planned(tmp_path, text)
    groups = {run.combination.label: run.group for run in plan.runs}
    assert groups["all, 1 MHz"] != groups["all, 2 MHz"]
    assert groups["some, 1 MHz"] == groups["some, 2 MHz"]


def test_more_seeds_and_other_targets_stay_in_the_same_folder(tmp_path):
    folder = planned(tmp_path).folder
    more = changed("seeds: [1, 2]", "seeds: [7, 1, 2, 3]")
    assert planned(tmp_path, more).folder == folder
    assert planned(tmp_path, changed("0.99", "0.9")).folder == folder
    assert planned(tmp_path, changed("rounds=2", "rounds=3")).folder != folder


def test_the_baseline_keeps_the_other_axes(tmp_path):
    config = load_text(TINY, StudyConfig)
    found = {one.label: one.baseline for one in combinations(config)}
    assert found["some, 2 MHz"] == "all, 2 MHz"
    assert found["all, 1 MHz"] == "all, 1 MHz"


def test_excluded_combinations_are_not_run():
    text = f"{TINY}exclude: [{{policy: some, band: 2 MHz}}]\n"
    labels = [one.label for one in combinations(load_text(text, StudyConfig))]
    assert labels == ["all, 1 MHz", "all, 2 MHz", "some, 1 MHz"]


def test_a_resolved_study_reads_back_as_itself():
    config = load_text(f"{TINY}exclude: [{{band: 1 MHz}}]\n", StudyConfig)
    assert load_text(dump(config), StudyConfig) == config


WRONG = {
    "unknown key": (
        changed("baseline:", "basline:"),
        ":16:1: unknown key 'basline', did you mean 'baseline'?",
    ),
    "unknown variant": (
        changed("{policy: all}", "{policy: al}"),
        ":16:20: baseline.policy: no variant is called 'al', did you mean 'all'?",
    ),
    "seed among the overrides": (
        changed("- stop.rounds=2", "- seed=4"),
        ":4:5: overrides.0: seeds are listed in `seeds` alone",
    ),
    "wrong override of a variant": (
        changed("num_drawn: 3", "num_drawn: 0"),
        ":11:34: server.sampling={kind: uniform, num_drawn: 0}: "
        "server.sampling.num_drawn: must be at least 1, got 0",
    ),
    "wrong value of a path": (
        changed("2 MHz", "2 MB"),
        ':13:21: cell.uplink.band="2 MB": cell.uplink.band: unknown unit',
    ),
    "axis of nothing": (changed("values: [1 MHz, 2 MHz]", "values: []"), "needs"),
    "names met twice": (changed("1 MHz", "2 MHz"), "two variants would be called"),
    "a taken name": (changed("name: policy", "name: seed"), "the name 'seed' is taken"),
    "baseline left out": (
        f"{TINY}exclude: [{{policy: all, band: 1 MHz}}]\n",
        "leaves out 'all, 1 MHz', the baseline of 'some, 1 MHz'",
    ),
    "too many runs": (f"{TINY}budget: 7\n", "budget: must be at least 8"),
    "only what is excluded": (
        f"{TINY}exclude: [{{policy: some, band: 1 MHz}}]\n"
        "only: {policy: some, band: 1 MHz}\n",
        "only: names a combination that `exclude` leaves out",
    ),
    "no such scenario": (
        changed("quickstart", "quickstrt"),
        ":2:11: scenario: no file and no shipped scenario is called 'quickstrt'",
    ),
    "seeds twice": (changed("[1, 2]", "[1, 1]"), ":14:1: seeds: lists something twice"),
    "targets without learning": (
        TINY.replace("quickstart", "network-only").replace(
            "  - learning.training.local_steps=1\n", ""
        ),
        ":14:10: targets: need learning",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_study_is_refused_before_anything_runs(name, tmp_path, capsys):
    text, expected = WRONG[name]
    path = written(tmp_path, text)
    assert netsim("study", path, "--out", tmp_path / "study") == 2
    printed = capsys.readouterr()
    assert expected in printed.err
    assert "tiny.yaml" in printed.err
    assert printed.out == ""
    assert not (tmp_path / "study").exists()


def test_all_that_is_wrong_is_said_at_once_and_of_whom(tmp_path):
    text = changed("num_drawn: 3", "num_drawn: 0").replace("2 MHz", "2 MB")
    with pytest.raises(InputError) as caught:
        planned(tmp_path, text)
    assert "num_drawn: must be at least 1" in str(caught.value)
    assert "(in some, 1 MHz; some, 2 MB)" in str(caught.value)
    assert "(in all, 2 MB; some, 2 MB)" in str(caught.value)


def test_a_dry_run_says_what_it_would_do_and_does_not(tmp_path, capsys):
    path = written(tmp_path)
    assert netsim("study", path, "--dry-run", "--out", tmp_path / "study") == 0
    printed = capsys.readouterr().out
    assert "tiny: 8 runs, 4 combinations with 2 seeds; 0 are finished" in printed
    assert "share learning, seed by seed: all, 1 MHz; all, 2 MHz" in printed
    assert "4 runs train, 4 reuse" in printed
    assert not (tmp_path / "study").exists()


def test_the_forecast_leaves_out_what_is_finished(tmp_path, monkeypatch):
    plan = planned(tmp_path)
    done = {plan.leaders()[0].folder}
    finished = property(lambda run: run.folder in done)
    monkeypatch.setattr(study_plan.PlannedRun, "is_finished", finished)
    assert "  3 runs train, 4 reuse what is learned by then" in overview(plan)
    done |= {run.folder for run in plan.leaders()}
    assert "  0 runs train, 4 reuse what is learned by then" in overview(plan)
    done |= {run.folder for run in plan.runs}
    assert "  nothing is left to run" in overview(plan)


def test_no_run_of_a_network_alone_is_said_to_train(tmp_path):
    text = changed("scenario: quickstart", "scenario: network-only")
    text = text.replace("  - learning.training.local_steps=1\n", "")
    text = "".join(row for row in text.splitlines(True) if "targets" not in row)
    assert "  8 runs, none of which trains" in overview(planned(tmp_path, text))


def test_a_value_with_a_slash_can_be_the_baseline():
    said = {"path": "cell.uplink.radio.path", "values": ("ways/a.up", "ways/b.up")}
    config = StudyConfig(
        name="ways",
        scenario="quickstart",
        axes=(said,),
        seeds=(1,),
        baseline={"path": "ways/b.up"},
    )
    assert {one.baseline for one in combinations(config)} == {"ways/b.up"}


def test_a_killed_study_goes_on_to_the_same_table(tmp_path, capsys):
    path = written(tmp_path)
    whole = package.run_study(path, out=tmp_path / "whole")
    os.environ["XDG_CACHE_HOME"] = str(new_cache(tmp_path / "other-cache"))
    folder = tmp_path / "killed"
    killed_midway(path, folder)
    kept = complete(folder)
    before = len(kept)
    assert 2 <= before < 8
    assert netsim("study", path, "--out", folder) == 0
    printed = capsys.readouterr()
    assert f"; {before} are finished" in printed.out
    assert "to loss 1.65\n  all, 1 MHz: the baseline" in printed.out
    assert printed.err.count("steps trained") == 8 - before
    assert kept.items() <= complete(folder).items()
    resumed = package.load_study(folder)
    pd.testing.assert_frame_equal(resumed.table, whole.table)
    pd.testing.assert_frame_equal(resumed.curves, whole.curves)
    pd.testing.assert_frame_equal(resumed.summary, whole.summary)
    assert (folder / "study.parquet").read_bytes() == (
        tmp_path / "whole" / "study.parquet"
    ).read_bytes()


SINGLE = changed("seeds: [1, 2]", "seeds: [1]")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, quickstart_base):
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(new_cache(folder / "cache")))
        return package.run_study(written(folder, SINGLE), out=folder / "study")


def test_the_frames_say_what_the_runs_came_to(finished):
    table = finished.table
    assert len(table) == 8  # four runs, two targets
    never = table[table.target == "accuracy 0.99"]
    assert not never.is_reached.any()
    assert (never.time_ns == never.end_ns).all()
    run = package.load_run(finished.folder / "runs" / "some+1-MHz" / "1")
    row = table[(table.policy == "some") & (table.band == "1 MHz")].iloc[0]
    assert row.digest == run.manifest.digest
    met = run.time_to("loss", 1.65)
    assert row.is_reached == (met is not pd.NaT)
    own = never[(never.policy == "some") & (never.band == "1 MHz")].iloc[0]
    assert own.upload_bits == run.tasks.upload_bits.sum()
    joules = run.tasks.filter(like="energy_j").astype(float).sum().sum()
    assert own.energy_j == pytest.approx(joules)
    curves = finished.curves
    assert len(curves) == 4 * len(run.evals)
    summary = pd.read_parquet(finished.folder / "summary.parquet")
    pd.testing.assert_frame_equal(summary, finished.summary)


def test_followers_train_nothing(finished):
    folder = finished.folder / "runs"
    for policy in ("all", "some"):
        leader, follower = (
            read_manifest(folder / f"{policy}+{band}-MHz" / "1") for band in (1, 2)
        )
        assert leader.steps_trained > 0
        assert (follower.steps_trained, follower.steps_reused) == (
            0,
            leader.steps_trained + leader.steps_reused,
        )


def test_a_relative_folder_and_two_workers_are_as_good(tmp_path, monkeypatch, capsys):
    text = TINY.replace("quickstart", "network-only").replace("[1, 2]", "[1]")
    text = text.replace("  - learning.training.local_steps=1\n", "")
    text = text[: text.index("targets:")] + text[text.index("baseline:") :]
    path = written(tmp_path, text)
    monkeypatch.chdir(tmp_path)
    assert netsim("study", path, "--out", "here", "--workers", "2") == 0
    assert "0 runs failed" not in capsys.readouterr().out
    by_two = package.load_study("here").table
    assert set(by_two.status) == {"complete"}
    assert netsim("study", path, "--out", tmp_path / "one", "--workers", "1") == 0
    by_one = package.load_study(tmp_path / "one").table
    assert list(by_one.digest) == list(by_two.digest)


def test_many_runs_are_compared_in_tables_that_keep_numbers_whole(
    finished, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "40")
    runs = sorted(finished.folder.glob("runs/*/*"))
    capsys.readouterr()
    assert netsim("compare", *runs, "--target", "loss=0.1") == 0
    table, _ = capsys.readouterr().out.split(f"{runs[1]} compared with", 1)
    assert len(runs) == 4
    assert all(str(Path(*run.parts[-2:])) in table for run in runs)
    assert table.count("to loss 0.1") == table.count("to the end") == 4
    assert table.count("not in ") == 4
    assert "…" not in table
    assert max(map(len, table.splitlines())) <= 40


def test_two_runs_are_compared_side_by_side(finished, capsys):
    runs = [finished.folder / "runs" / f"all+{n}-MHz" / "1" for n in (1, 2)]
    capsys.readouterr()
    assert netsim("compare", *runs, "--target", "accuracy=0.99", "--json") == 0
    printed = capsys.readouterr().out
    assert "cell.uplink.band: 1 MHz -> 2 MHz" in printed
    assert "to accuracy 0.99" in printed
    assert "not in" in printed
    assert "final accuracy" in printed
    assert netsim("compare", *runs, "--target", "acuracy=0.9") == 2
    assert "did you mean 'accuracy'" in capsys.readouterr().err


def test_a_run_without_learning_is_not_scored(finished, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    out = tmp_path / "network"
    few = ("--set", "stop.rounds=1", "--quiet")
    assert netsim("run", "network-only", "--out", out, *few) == 0
    capsys.readouterr()
    run = finished.folder / "runs" / "all+1-MHz" / "1"
    assert netsim("compare", run, out, "--target", "accuracy=0.99") == 0
    to_target = capsys.readouterr().out.partition("to accuracy 0.99")[2].splitlines()[0]
    assert to_target.count("not in ") == to_target.count("not scored in ") == 1


def test_another_study_never_passes_off_the_runs_of_this_one(
    finished, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(finished.folder.parent / "cache"))
    folder = shutil.copytree(finished.folder, tmp_path / "study")
    longer = written(tmp_path, SINGLE.replace("rounds=2", "rounds=3"))
    assert netsim("study", longer, "--out", folder, "--quiet", "--json") == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (said["runs"], said["failed"]) == (4, 0)
    assert [row["num_seeds"] for row in said["summary"]] == [1] * 8
    never = package.load_study(folder).table.iloc[1::2]
    assert list(never.rounds) == [3] * 4
    other = written(tmp_path, SINGLE.replace("local_steps=1", "local_steps=2"))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert netsim("study", other, "--out", folder) == 2
    assert "holds a run of another scenario" in capsys.readouterr().err
    renamed = written(tmp_path, SINGLE.replace("all", "everyone"))
    assert netsim("study", renamed, "--out", folder) == 2
    assert "holds another study: this one has no run runs/all+" in (
        capsys.readouterr().err
    )
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert after == before


def test_one_failing_run_does_not_stop_the_others(tmp_path, capsys):
    wild = "learning.training.learning_rate=1e30"
    text = SINGLE.replace("server.sampling=full", wild, 1)
    text = text.replace("all", "wild").replace("policy: wild", "policy: some")
    text = text.replace("axes:", "  - learning.on_divergence=stop\naxes:")
    path, folder = written(tmp_path, text), tmp_path / "study"
    assert netsim("study", path, "--out", folder) == 1
    printed = capsys.readouterr()
    assert "wild, 1 MHz, seed 1: failed, InputError: " in printed.err
    assert "2 runs failed" in printed.out
    table = package.load_study(folder).table
    assert set(table[table.policy == "wild"].status) == {"failed"}
    assert set(table[table.policy == "some"].status) == {"complete"}
    with pytest.raises(StudyFailed, match="wild, 2 MHz, seed 1"):
        package.run_study(path, out=folder)


@pytest.mark.parametrize("name", ["study", "curves"])
def test_a_damaged_table_is_named_or_whole_and_written_again(name, finished, tmp_path):
    folder = shutil.copytree(finished.folder, tmp_path / "study")
    study = package.load_study(folder)
    right, path = tables(study)[name], folder / f"{name}.parquet"
    content = path.read_bytes()
    said = set()
    for place in range(5, len(content), 197):
        flipped = bytes([content[place] ^ 4])
        path.write_bytes(content[:place] + flipped + content[place + 1 :])
        try:
            assert tables(package.load_study(folder))[name].equals(right)
        except InputError as error:
            said.add(str(error).partition(" is damaged: ")[0])
    assert said == {str(path)}
    again = package.run_study(written(tmp_path, SINGLE), out=folder)
    assert tables(again)[name].equals(right)


def tables(study):
    return {"study": study.table, "curves": study.curves}


def test_a_folder_of_something_else_is_left_alone(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert netsim("study", written(tmp_path), "--out", tmp_path) == 2
    assert "holds files but no study" in capsys.readouterr().err


def test_a_users_own_study_file_is_not_overwritten(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    written(tmp_path, "# mine\n" + TINY, "study.yaml")
    for out in (".", tmp_path):
        assert netsim("study", "study.yaml", "--out", out) == 2
        assert "holds files but no study" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["study.yaml"]
    assert Path("study.yaml").read_text() == "# mine\n" + TINY


SMALL = (
    *("--set", "stop={rounds: 1}", "--set", "learning.training.local_steps=1"),
    *("--seeds", "1", "--quiet"),
)


@pytest.mark.parametrize("name", shipped.names(shipped.STUDIES))
def test_every_shipped_study_runs_in_small(name, common_cache, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(common_cache))
    folder = tmp_path / "study"
    assert netsim("study", name, *SMALL, "--out", folder) == 0
    found = package.load_study(folder)
    assert set(found.table.status) == {"complete"}
    assert set(found.table["rounds"]) == {1}
    assert set(found.table.seed) == {1}


def test_what_a_command_line_says_instead_comes_before_the_axes(tmp_path, capsys):
    path = written(tmp_path)
    more = ("--set", "cell.uplink.band=7 MHz", "--set", "stop.rounds=9", "--seeds", "5")
    plan = study_plan.plan_study(
        path, tmp_path, instead=study_plan.Instead((more[1], more[3]), (5,))
    )
    assert {run.scenario.seed for run in plan.runs} == {5}
    assert {run.scenario.stop.rounds for run in plan.runs} == {9}
    bands = {run.scenario.cell.uplink.band_hz for run in plan.runs}
    assert bands == {1e6, 2e6}
    assert netsim("study", path, *more, "--dry-run") == 0
    assert "4 runs, 4 combinations with 1 seeds" in capsys.readouterr().out
    for wrong, expected in {
        ("--set", "stop.round=1"): "--set stop.round=1: stop: unknown key 'round'",
        ("--set", "seed=1"): "seeds are listed in `seeds` alone",
        ("--seeds", "1,x"): "--seeds 1,x: must be whole numbers",
        ("--seeds", "1,1"): "lists something twice",
    }.items():
        assert netsim("study", path, *wrong) == 2
        assert expected in capsys.readouterr().err


def test_a_value_of_an_axis_may_be_a_mapping():
    text = changed(
        "- path: cell.uplink.band\n    values: [1 MHz, 2 MHz]",
        "- path: population.speed_spread\n    name: spread\n"
        "    values: [exponential, {kind: log-normal, sigma: 0.5}]",
    )
    config = load_text(text, StudyConfig)
    assert config.axes[1].labels == ("exponential", "log-normal, sigma 0.5")
    found = combinations(config)[1].overrides[-1]
    expected = 'population.speed_spread={"kind": "log-normal", "sigma": 0.5}'
    assert found.text == expected


def test_the_time_left_is_paced_by_what_is_left():
    """Two train for 10 s each, then one of four reuses in 1 s."""
    left = TimeLeft({Path(str(n)): n < 2 for n in range(6)}, 100.0)
    left.note(Path("0"), 110.0)
    assert left.estimate_s() == pytest.approx(10 + 4 * 0.15 * 10)
    left.note(Path("1"), 120.0)
    left.note(Path("2"), 121.0)
    assert left.estimate_s() == pytest.approx(3)
    for name in "345":
        left.note(Path(name), 124.0)
    assert left.estimate_s() is None


def test_the_picture_has_a_mark_per_seed_and_a_mean_per_combination(finished):
    rows = finished.table[finished.table.target == "accuracy 0.99"]
    found = list(study_picture.points(rows))
    assert [point["what"] for point in found] == ["seed", "mean"] * 4
    assert {point.get("end") for point in found} == {"not met by then", None}
    assert found[1]["time_s"] == pytest.approx(found[0]["time_s"])
    assert found[1]["low_s"] is None, "one seed has no interval"
    drawn = study_picture.draw(finished)
    if drawn != libraries.NOT_INSTALLED:
        assert (finished.folder / "study.svg").read_text().count("<svg") == 1


def test_the_shipped_study_is_sound_and_its_schema_current(capsys):
    assert netsim("study", "bands", "--dry-run") == 0
    assert "9 runs train, 27 reuse" in capsys.readouterr().out
    assert netsim("list") == 0
    assert "  bands   " in capsys.readouterr().out
    assert netsim("study", "band", "--dry-run") == 2
    assert "did you mean 'bands'" in capsys.readouterr().err
    assert netsim("schema", "--study") == 0
    committed = (shipped.FOLDER / "study.schema.json").read_text()
    assert capsys.readouterr().out == committed, "run `make schema`"


def test_variants_whose_names_join_to_the_same_text_stay_apart(tmp_path):
    """Their names are "a, b" and "c" here, "a" and "b, c" there."""
    text = """\
name: joined
scenario: network-only
overrides: [stop.rounds=2]
axes:
  - name: x
    variants:
      - {name: "a, b", overrides: [cell.uplink.band=1 MHz]}
      - {name: a, overrides: [cell.uplink.band=2 MHz]}
  - name: y
    variants:
      - {name: c, overrides: [population.num_clients=9]}
      - {name: "b, c", overrides: [population.num_clients=10]}
seeds: [1]
baseline: {x: a}
"""
    study = package.run_study(written(tmp_path, text), out=tmp_path / "study")
    assert study.table.variant.is_unique
    assert set(study.table.baseline) == {"'a', 'c'", "'a', 'b, c'"}
    for row in study.table.itertuples():
        (run,) = (r for r in planned(tmp_path, text).runs if r.title.startswith(row[1]))
        band_hz = run.scenario.cell.uplink.band_hz
        num_clients = run.scenario.population.num_clients
        expected = 1e6 if row.x == "a, b" else 2e6, 9 if row.y == "c" else 10
        assert (band_hz, num_clients) == expected
        found = package.load_run(study.folder / "runs" / run.combination.folder / "1")
        assert found.manifest.digest == row.digest
        assert len(found.clients) == num_clients


def test_one_row_is_made_again_by_the_printed_command(tmp_path, capsys):
    """With its baseline, in a folder of its own, to the same digest."""
    text = """\
name: bands
scenario: network-only
overrides: [stop.rounds=1, population.num_clients=3]
axes:
  - {path: cell.uplink.band, values: [1 MHz, 2 MHz, 3 MHz]}
  - {path: population.transmit_power, values: [23 dBm]}
seeds: [4, 5]
baseline: {band: 1 MHz}
"""
    path = written(tmp_path, text)
    whole, one = tmp_path / "whole", tmp_path / "one"
    assert netsim("study", path, "--out", whole, "--reproduce") == 0
    printed = capsys.readouterr().out.splitlines()
    command = f"netsim study {path} --only 'band=3 MHz' --seeds 4"
    at = printed.index(command)
    assert printed[at + 1].endswith(" CPU s")
    assert netsim(*shlex.split(command)[1:], "--out", one) == 0
    table = package.load_study(one).table
    assert table.band.tolist() == ["1 MHz", "3 MHz"]
    assert set(table.seed) == {4}
    assert printed[at + 2].endswith(f"digest {table.digest[1][:12]}")
    before = package.load_study(whole).table
    rows = before[(before.seed == 4) & (before.band != "2 MHz")]
    assert rows.digest.tolist() == table.digest.tolist()
    capsys.readouterr()
    for words, message in {
        ("--only", "band"): "--only band: must be of the form axis=name",
        ("--only", "bend=1 MHz"): "no axis is called 'bend', did you mean 'band'?",
        ("--only", "band=9 MHz"): "no variant is called '9 MHz'",
        ("--only", "band=1 MHz", "--only", "band=2 MHz"): "is named twice",
        ("--only", "band=2 MHz", "--out", str(whole)): "holds another study",
    }.items():
        assert netsim("study", path, *words) == 2
        assert message in capsys.readouterr().err
