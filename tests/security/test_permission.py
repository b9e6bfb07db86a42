"""What only reads imports no class of a user's own; what runs says so first."""

import os
import shutil
import sys

import pytest

import netsim
from netsim.cosim.reading import parse_scenario, read_unloaded
from netsim.cosim.shipped import find_scenario
from netsim.errors import InputError
from netsim.scenario import Opaque, UserCode, dump
from netsim.scenario.permission import import_record
from tests.support.command import netsim as command
from tests.support.hostile import seal, set_trap, unloaded

HONEST = "availability:\n    kind: always\n"
EVIL = "availability:\n    kind: evil:X\n"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("honest") / "run"
    netsim.run("network-only", "stop.rounds=1", out=folder)
    return folder


@pytest.fixture(autouse=True)
def forgotten():
    with unloaded("evil"):
        yield


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "marker"


@pytest.fixture(params=["sealed", "with a wrong hash"])
def hostile(request, finished, tmp_path, marker, monkeypatch):
    """A stranger's run with a module of its own, below the current directory."""
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    set_trap(run, marker)
    scenario = run / "scenario.yaml"
    text = scenario.read_text()
    assert HONEST in text
    scenario.write_text(text.replace(HONEST, EVIL))
    if request.param == "sealed":
        seal(run)
    return run


@pytest.mark.parametrize(
    "words",
    [
        ("verify", "RUN"),
        ("compare", "RUN", "HONEST"),
        ("report", "RUN", "--out", "page.html"),
        ("timeline", "RUN", "--out", "t.json"),
        ("check", "RUN/scenario.yaml"),
        ("plan", "RUN/scenario.yaml"),
        ("run", "RUN/scenario.yaml", "--quiet"),
        ("replay", "RUN"),
        ("replay", "RUN", "--set", "seed=3"),
        ("merge-study", "RUN"),
        ("run", "network-only", "--out", "RUN", "--resume"),
    ],
)
def test_no_command_runs_what_a_run_brings(
    words, hostile, finished, marker, capsys, monkeypatch
):
    places = {"RUN": str(hostile), "HONEST": str(finished)}
    given = [word.replace("RUN", places["RUN"]) for word in words]
    given = [word.replace("HONEST", places["HONEST"]) for word in given]
    code = command(*given)
    assert not marker.exists()
    assert code in (0, 1, 2)
    monkeypatch.chdir(hostile)  # also from within
    command(*given)
    assert not marker.exists()


def test_a_run_with_a_class_of_its_maker_is_compared_and_reported(
    hostile, finished, capsys
):
    seal(hostile)
    assert command("compare", finished, hostile) == 0
    assert "population.availability: always -> evil:X" in capsys.readouterr().out
    assert command("report", hostile, "--out", "page.html") == 0


def test_a_scenario_is_read_as_plain_values(hostile, marker):
    found = read_unloaded(hostile / "scenario.yaml")
    assert found.population.availability == Opaque(kind="evil:X", settings={})
    assert not marker.exists()
    assert EVIL in dump(found)
    assert dump(found) == (hostile / "scenario.yaml").read_text()


def scenario_beside(folder, marker):
    set_trap(folder, marker)
    text = find_scenario("network-only").read_text()
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


KIND = ("--set", "population.availability=evil:X", "--set", "stop.rounds=1")


def test_a_module_of_the_working_tree_runs_and_is_announced(
    tmp_path, marker, capsys, monkeypatch
):
    path = scenario_beside(tmp_path / "sub", marker)
    monkeypatch.chdir(tmp_path)
    assert command("check", path, *KIND) == 0
    said = capsys.readouterr()
    where = tmp_path / "sub" / "evil.py"
    assert said.err == f"this scenario is a program: evil:X runs from {where}\n"
    assert marker.exists()
    assert command("run", path, *KIND, "--quiet", "--out", "out") == 0
    assert str(where) in capsys.readouterr().err


@pytest.mark.parametrize("name", ["check", "run", "plan"])
def test_a_module_elsewhere_needs_permission(
    name, tmp_path, marker, capsys, monkeypatch
):
    path = scenario_beside(tmp_path / "theirs", marker)
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    assert command(name, path, *KIND) == 2
    said = capsys.readouterr().err
    assert str(tmp_path / "theirs" / "evil.py") in said
    assert "--allow-code" in said
    assert not marker.exists()


def test_permission_is_an_option(tmp_path, marker, capsys, monkeypatch):
    path = scenario_beside(tmp_path / "theirs", marker)
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    assert command("check", path, *KIND, "--allow-code") == 0
    assert marker.exists()
    with unloaded("evil"), pytest.raises(InputError, match="allow-code"):
        netsim.run(path, *KIND[1::2])
    with unloaded("evil"):
        found = netsim.run(path, *KIND[1::2], allow_code=True)
    assert found.manifest.status == "complete"


STUDY = """
name: two
scenario: {path}
overrides: ['population.availability=evil:X', 'stop.rounds=1']
axes: [{{path: cell.uplink.band, values: [1 MHz]}}]
seeds: [1]
baseline: {{band: 1 MHz}}
"""


def test_a_study_asks_too_and_its_workers_run_what_was_allowed(
    tmp_path, marker, capsys, monkeypatch
):
    path = scenario_beside(tmp_path / "theirs", marker)
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    text = STUDY.format(path=path)
    (tmp_path / "theirs" / "study.yaml").write_text(text)
    words = ("study", tmp_path / "theirs" / "study.yaml", "--quiet")
    assert command(*words) == 2
    assert "--allow-code" in capsys.readouterr().err
    assert not marker.exists()
    assert command(*words, "--allow-code") == 0
    assert "this scenario is a program" in capsys.readouterr().err


def test_a_module_of_another_user_is_not_of_the_working_tree(
    tmp_path, marker, monkeypatch
):
    set_trap(tmp_path, marker)
    monkeypatch.chdir(tmp_path)
    me = os.geteuid()
    monkeypatch.setattr("os.geteuid", lambda: me + 1)
    real = os.stat

    def stat(path, *args, **kwargs):
        found = list(real(path, *args, **kwargs))
        found[4] = me + 1 if str(path) == "." else me + 2
        return os.stat_result(found)

    monkeypatch.setattr("os.stat", stat)
    with pytest.raises(ImportError, match="belongs to another user"):
        import_record("evil:X", tmp_path)
    assert not marker.exists()


def test_python_itself_has_no_such_classes():
    with pytest.raises(ImportError, match="a module of Python itself"):
        import_record("antigravity:X", None, UserCode(allows_given=True))
    assert "antigravity" not in sys.modules


def test_a_worker_searches_where_its_parent_did(tmp_path, marker, monkeypatch):
    path = scenario_beside(tmp_path / "mine", marker)
    monkeypatch.chdir(tmp_path / "mine")
    code = UserCode().for_worker(path.parent)
    (tmp_path / "far").mkdir()
    monkeypatch.chdir(tmp_path / "far")
    text = path.read_text().replace(
        "population:", "population:\n  availability: evil:X", 1
    )
    found = parse_scenario(text, path.parent, code)
    assert type(found.population.availability).__name__ == "X"
