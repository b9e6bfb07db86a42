"""`netsim flower`: messages about what is wrong, without Flower itself."""

import importlib.util
import shutil

import pytest

from netsim.cosim.reading import read_scenario, scenario_of
from netsim.errors import InputError
from netsim.scenario import UserCode, dump
from tests.support.command import netsim
from tests.support.flower_apps import APPS, app_settings


def test_a_folder_that_is_no_app_is_refused_in_one_message(tmp_path, capsys):
    assert netsim("flower", tmp_path, "--out", tmp_path / "run") == 2
    assert "is no Flower app: it has no pyproject.toml" in capsys.readouterr().err


@pytest.mark.skipif(
    importlib.util.find_spec("flwr") is not None, reason="Flower is installed"
)
def test_without_flower_the_extra_is_named(tmp_path, capsys):
    assert netsim("flower", APPS / "numbers", "--out", tmp_path / "run") == 2
    message = "needs the package `flwr`: pip install -e '.[flower]'"
    assert message in capsys.readouterr().err


def test_settings_of_the_app_are_those_of_flower_run():
    found = app_settings("numbers", config=["rounds=5 strategy='FedProx'"])
    assert found.learning.run_config == {"rounds": 5, "strategy": "FedProx"}
    with pytest.raises(InputError, match=r"no setting 'round'.*it has fraction"):
        app_settings("numbers", config=["round=5"])
    with pytest.raises(InputError, match="must be of the form name=value"):
        app_settings("numbers", config=["rounds"])
    with pytest.raises(InputError, match="must be of the form name=value"):
        app_settings("numbers", config=["rounds=5 fraction 1"])


def test_no_app_has_a_validation_split():
    target = "stop.target={level: 0.5, split: validation}"
    with pytest.raises(InputError, match="which no Flower app has"):
        app_settings("numbers", target)


def test_an_app_outside_the_working_tree_runs_only_with_permission(
    tmp_path, monkeypatch
):
    shutil.copytree(APPS / "numbers", tmp_path / "apps" / "numbers")
    path = tmp_path / "given.yaml"
    path.write_text(dump(app_settings(tmp_path / "apps" / "numbers")))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="lies outside your working tree"):
        read_scenario(path)
    said = []
    read_scenario(path, (), UserCode(allows_given=True, tell=said.append))
    assert said == [
        f"this scenario is a program: an app runs from {tmp_path}/apps/numbers"
    ]
    monkeypatch.chdir(tmp_path)
    assert read_scenario(path).learning.app == str(tmp_path / "apps" / "numbers")


def test_code_of_the_network_needs_a_permission_of_its_own(
    tmp_path, monkeypatch, capsys
):
    network = tmp_path / "given" / "network.yaml"
    network.parent.mkdir()
    plain = dump(scenario_of("network-only", ()))
    network.write_text(plain.replace("kind: per-hertz", "kind: mine:Own"))
    assert network.read_text() != plain
    (network.parent / "mine.py").write_text("raise SystemExit('it has run')")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert netsim("flower", APPS / "numbers", "--scenario", network) == 2
    assert "'mine' is not run: it lies in" in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_named(tmp_path, capsys):
    assert netsim("flower", tmp_path / "nowhere") == 2
    assert "must be the folder of an app, got" in capsys.readouterr().err
