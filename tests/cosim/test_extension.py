"""A recorded run goes on to a later end, and is never lost on the way."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from netsim import load_run
from netsim.cosim import extend
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
from netsim.errors import InputError
from netsim.runs.manifest import read_manifest
from netsim.verify import verify

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_store")]

NAMES = ("network-only", "quickstart")


def scenario(name, *overrides):
    return read_scenario(
        find_scenario(name),
        (*overrides, *(["learning.training.local_steps=2"] * (name == "quickstart"))),
    )


def contents(folder):
    """Return every file below a folder, by name."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_longer_run_equals_one_from_scratch(name, tmp_path):
    short, long = (scenario(name, f"stop.rounds={n}") for n in (2, 4))
    first = run_scenario(short, tmp_path / "run")
    (tmp_path / "run" / "notes.txt").write_text("mine")
    longer = run_scenario(long, tmp_path / "run", resume=True)
    scratch = run_scenario(long, tmp_path / "scratch", reuse=False)
    assert longer.digest == scratch.digest != first.digest
    assert read_manifest(tmp_path / "run") == longer
    assert verify(tmp_path / "run") == []
    assert len(load_run(tmp_path / "run").rounds) == 4
    assert longer.steps_reused == first.steps_trained
    assert (first.steps_trained > 0) == (name == "quickstart")
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"
    assert not (tmp_path / "run" / extend.LONGER).exists()


def test_a_limit_in_time_goes_on_as_well(tmp_path):
    run_scenario(scenario("network-only", "stop={time: 10 s}"), tmp_path / "run")
    long = scenario("network-only", "stop={time: 20 s}")
    longer = run_scenario(long, tmp_path / "run", resume=True)
    assert longer.digest == run_scenario(long, tmp_path / "scratch").digest


class Stopped(BaseException):
    """The hand that kills a run."""


def kill_at(round_id):
    def watch(progress):
        if progress.round_id == round_id:
            raise Stopped

    return watch


def test_a_killed_extension_leaves_the_recorded_run_and_goes_on(tmp_path):
    short, long = (scenario("network-only", f"stop.rounds={n}") for n in (3, 8))
    run_scenario(short, tmp_path / "run")
    before = contents(tmp_path / "run")
    with pytest.raises(Stopped):
        run_scenario(long, tmp_path / "run", resume=True, watch=kill_at(5))
    after = contents(tmp_path / "run")
    assert {name: after[name] for name in before} == before
    assert verify(tmp_path / "run") == []
    assert extend.scenario_path(tmp_path / "run", long).parent.name == ".longer"
    assert extend.scenario_path(tmp_path / "run", short).parent.name == "run"
    longer = run_scenario(long, tmp_path / "run", resume=True)
    assert longer.digest == run_scenario(long, tmp_path / "scratch").digest


def test_an_interrupted_run_goes_on_to_another_end(tmp_path):
    short, long = (scenario("network-only", f"stop.rounds={n}") for n in (4, 6))
    with pytest.raises(Stopped):
        run_scenario(short, tmp_path / "run", watch=kill_at(2))
    longer = run_scenario(long, tmp_path / "run", resume=True)
    assert longer.digest == run_scenario(long, tmp_path / "scratch").digest


@pytest.mark.parametrize("num_moved", range(8))
def test_a_kill_while_the_longer_run_takes_its_place_is_made_good(
    num_moved, tmp_path, monkeypatch
):
    short, long = (scenario("network-only", f"stop.rounds={n}") for n in (2, 4))
    run_scenario(short, tmp_path / "run")
    moves = iter(range(num_moved))

    def dying(move):
        def step(self, target):
            if next(moves, None) is None:
                raise Stopped
            return move(self, target)

        return step

    with monkeypatch.context() as patched:
        patched.setattr(extend, "_rename", dying(extend._rename), raising=True)
        try:
            run_scenario(long, tmp_path / "run", resume=True)
            was_killed = False
        except Stopped:
            was_killed = True
    assert was_killed == (num_moved < 4)
    again = run_scenario(long, tmp_path / "run", resume=True)
    assert again.digest == run_scenario(long, tmp_path / "scratch").digest
    assert verify(tmp_path / "run") == []
    assert not (tmp_path / "run" / extend.LONGER).exists()


def test_an_end_before_the_recorded_one_is_refused_and_loses_nothing(tmp_path):
    run_scenario(scenario("network-only", "stop.rounds=4"), tmp_path)
    before = contents(tmp_path)
    for stop, num_rounds in (("{rounds: 3}", 3), ("{time: 1 ms}", 1)):
        earlier = scenario("network-only", f"stop={stop}")
        refused = f"holds 4 finished rounds and the new end comes after {num_rounds}:"
        with pytest.raises(InputError, match=refused):
            run_scenario(earlier, tmp_path, resume=True)
        assert contents(tmp_path) == before


def test_any_other_difference_is_refused_by_name(tmp_path):
    run_scenario(scenario("network-only", "stop.rounds=2"), tmp_path)
    other = scenario("network-only", "stop.rounds=3", "cell.uplink.band=1 MHz")
    with pytest.raises(InputError, match=r"cell\.uplink\.band: 5 MHz -> 1 MHz\. Only"):
        run_scenario(other, tmp_path, resume=True)


def test_a_killed_extension_from_the_command_line_says_how_to_go_on(tmp_path):
    folder = tmp_path / "run"
    code = [sys.executable, "-c", "from netsim.cli import main; main()", "run"]

    def command(scenario, *more):
        return [*code, str(scenario), "--out", str(folder), *more]

    subprocess.run(
        command("network-only", "--set", "stop.rounds=3", "--quiet"), check=True
    )
    process = subprocess.Popen(
        command("network-only", "--set", "stop.rounds=200000", "--resume"),
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (folder / ".longer" / "trace").exists():
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(2)
    _, printed = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"netsim run {folder}/.longer/scenario.yaml --out {folder}" in printed
    assert json.loads((folder / "manifest.json").read_text())["rounds"] == 3
    longer = Path(folder, ".longer/scenario.yaml")
    longer.write_text(longer.read_text().replace("200000", "5"))
    subprocess.run(command(longer, "--resume", "--quiet"), check=True)
    assert json.loads((folder / "manifest.json").read_text())["rounds"] == 5
