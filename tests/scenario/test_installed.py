"""Plug-ins of installed packages are chosen, listed and offered by their kinds."""

import importlib
import sys

import pytest
import yaml

from netsim import load_run
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.scenario import Scenario
from netsim.cosim.shipped import find_scenario
from netsim.errors import InputError
from netsim.scenario import dump, json_schema
from netsim.scenario.installed import installed
from tests.support.command import netsim
from tests.support.rule import RULE

KIND = "plain-weights"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Lay a package and its metadata where Python looks for installed ones."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    site = tmp_path / "site"

    def install(name, **entries):
        (site / "plain_weights").mkdir(parents=True, exist_ok=True)
        (site / "plain_weights" / "__init__.py").write_text("")
        (site / "plain_weights" / "rule.py").write_text(RULE.format(weight=1))
        info = site / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        )
        lines = [f"{seam}.{KIND} = {place}" for seam, place in entries.items()]
        (info / "entry_points.txt").write_text(
            "\n".join(["[netsim.plugins]", *lines, ""])
        )
        importlib.invalidate_caches()

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
