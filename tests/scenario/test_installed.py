"""Plug-ins of installed packages are chosen, listed and offered by their kinds."""

import os
import subprocess
import sys

import pytest
import yaml

from netsim import load_run
from netsim.cli import completing
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.scenario import Scenario
from netsim.cosim.shipped import find_scenario
from netsim.errors import InputError
from netsim.scenario import dump, json_schema
from netsim.scenario.installed import installed
from netsim.sharing import SHARING_RULES
from tests.support.command import netsim
from tests.support.installed import lay_out
from tests.support.rule import RULE

KIND = "plain-weights"
FADING = """
from typing import ClassVar

from netsim.channel.fading import NoFading


class Flat(NoFading):
    kind: ClassVar[str] = "flat"
"""
BOTH = {"fading": "plain_weights.fading:Flat", "sharing": "plain_weights.rule:Plain"}
MODULES = {
    "plain_weights/__init__.py": "",
    "plain_weights/rule.py": RULE.format(weight=1),
    "plain_weights/fading.py": FADING,
}


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Lay a package and its metadata where Python looks for installed ones."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    site = tmp_path / "site"

    def install(name, **entries):
        named = {f"{seam}.{KIND}": place for seam, place in entries.items()}
        lay_out(site, name, MODULES, named)

    site.mkdir()
    monkeypatch.syspath_prepend(site)
    yield install
    for name in [one for one in sys.modules if one.startswith("plain_weights")]:
        del sys.modules[name]


def test_an_installed_plug_in_runs_by_its_kind(install, tmp_path):
    install("plain", sharing="plain_weights.rule:Plain")
    network_only = find_scenario("network-only")
    overrides = (f"cell.uplink.sharing={KIND}", "stop.rounds=1")
    scenario = read_scenario(network_only, overrides)
    run_scenario(scenario, tmp_path / "run")
    kept = yaml.safe_load((tmp_path / "run" / "scenario.yaml").read_text())
    assert kept["cell"]["uplink"]["sharing"] == {"kind": "plain_weights.rule:Plain"}
    assert "plain_weights/rule.py" in load_run(tmp_path / "run").manifest.inputs
    assert dump(scenario) == (tmp_path / "run" / "scenario.yaml").read_text()
    with pytest.raises(InputError, match=f"did you mean '{KIND}'.*{KIND} or package"):
        read_scenario(network_only, ("cell.uplink.sharing=plain-weight",))


def test_list_and_schema_know_it_and_import_nothing(install, capsys):
    before = json_schema(Scenario)
    install("plain", sharing="plain_weights.rule:Plain", sharng="plain_weights:No")
    assert netsim("list") == 0
    said = capsys.readouterr().out
    assert f"  {KIND:<22} plain_weights.rule:Plain, installed\n" in said
    assert f"  sharng.{KIND:<15} plain_weights:No, did you mean 'sharing'?\n" in said
    assert "plain_weights" not in sys.modules
    now = json_schema(Scenario)
    assert KIND in str(now)
    assert KIND not in str(before)


def test_a_name_that_two_packages_install_is_refused(install):
    install("one", sharing="plain_weights.rule:Plain")
    assert installed("sharing") == {KIND: "plain_weights.rule:Plain"}
    install("two", sharing="plain_weights:Other")
    with pytest.raises(InputError, match=r" and (one|two) install a plug-in of"):
        read_scenario(find_scenario("network-only"), (f"cell.uplink.sharing={KIND}",))


def test_a_plan_takes_one_and_names_a_rule_whose_rounds_it_cannot_know(
    install, tmp_path, capsys
):
    install(
        "two", fading="plain_weights.fading:Flat", sharing="plain_weights.rule:Plain"
    )
    words = ("plan", "network-only", "--set", "population.num_clients=3", "--out")
    fading = ("--set", f"cell.fading={KIND}")
    assert netsim(*words, tmp_path / "plan", *fading) == 0
    said = capsys.readouterr().err
    assert "a program: plain_weights.fading:Flat runs from " in said
    sharing = ("--set", f"cell.uplink.sharing={KIND}")
    assert netsim(*words, tmp_path / "other", *sharing) == 2
    assert "cell.uplink.sharing: " in capsys.readouterr().err


def test_a_shell_completes_it(install, monkeypatch, tmp_path):
    install(
        "two", fading="plain_weights.fading:Flat", sharing="plain_weights.rule:Plain"
    )
    listed = [*SHARING_RULES, KIND]
    rules = [f"cell.uplink.sharing={kind}" for kind in listed]
    assert completing.settings("cell.uplink.sh") == rules
    assert completing.settings(f"cell.fading={KIND[:4]}") == [f"cell.fading={KIND}"]
    assert completing.settings("cell.uplink.") == [
        f"cell.uplink.{one}=" for one in ("sharing", "radio", "jitter")
    ]
    assert completing.plug_ins("pl") == [KIND] * 2
    assert completing.methods("fedit,thin") == ["fedit,thin-svd"]
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), *sys.path])
    )
    monkeypatch.setenv("COMP_WORDS", "netsim run network-only --set cell.uplink.sh")
    monkeypatch.setenv("COMP_CWORD", "4")
    monkeypatch.setenv("_NETSIM_COMPLETE", "complete_bash")
    command = "import sys; sys.argv = ['netsim']; import netsim.cli; netsim.cli.main()"
    done = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True
    )
    assert done.stdout.splitlines() == rules
