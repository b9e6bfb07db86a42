"""`netsim flower`: messages about what is wrong, without Flower itself."""

import importlib.util
import shutil

import pytest

from netsim.cosim.reading import read_scenario
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
