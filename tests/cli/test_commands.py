"""The table of commands: each is found, described as it describes itself, and lazy."""

import inspect
import subprocess
import sys
from importlib import import_module

import pytest

from netsim.cli.main import COMMANDS
from netsim.cosim.commands.choices import SEAMS
from netsim.cosim.scenario import Scenario
from netsim.scenario import json_schema
from netsim.scenario.explain import explain
from tests.support.command import netsim
from tests.support.places import ROOT

HEAVY = ("pandas", "pyarrow", "torch", "pydantic", "numpy", "simpy", "fl")


def test_help_has_the_first_sentences_of_each_command(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert netsim("--help") == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for name, place in COMMANDS.items():
        module, _, function = place.partition(":")
        command = getattr(import_module(f"netsim.cli.{module}"), function)
        paragraph = inspect.getdoc(command).split("\n\n")[0]
        assert f"{name} {' '.join(paragraph.split())}" in shown


def test_help_imports_nothing_heavy():
    program = (
        "import sys; sys.argv = ['netsim', '--help']\n"
        "from netsim.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY} if name in sys.modules])\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("list sampling", ["sampling  (server.sampling)", "  uniform  "]),
        (
            "list aggregation flora-na",
            ["flora-na\n", "max_sweeps: a whole number, at least 1; default 50"],
        ),
        (
            "explain server.sampling",
            ["or nothing; default null  (in deadline, synchronous)", "keys: num_drawn"],
        ),
        (
            "explain server.sampling.num_drawn",
            ["server.sampling.num_drawn: a whole number, at least 1; required\n"],
        ),
        ("explain cells.0.uplink.band", ["band: a quantity in Hz, as 20 MHz"]),
        ("explain population.devices.0", ["devices.0: a mapping\nDeviceChoice\n"]),
        (
            "explain learning.compute.train.per_example",
            ["per_example: a quantity in s, as 90 s; default"],
        ),
        ("explain", ["Scenario\n", "  stop: a mapping; required"]),
    ],
)
def test_a_choice_and_a_key_are_explained(words, said, capsys):
    assert netsim(*words.split()) == 0
    printed = capsys.readouterr().out
    assert [text for text in said if text not in printed] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("list agregation", "no seam 'agregation', did you mean 'aggregation'?"),
        ("list aggregation floar-na", "'floar-na', did you mean 'flora-na'?"),
        ("explain cell.uplink.bnd", "cell.uplink: unknown key 'bnd', did you mean"),
        ("explain seed.x", "seed: unknown key 'x', which has no keys"),
        ("explain seed.3", "seed: unknown key '3', which has no keys"),
        ("explain server..sampling", "server: unknown key '' (keys: "),
    ],
)
def test_what_cannot_be_explained_has_a_near_choice(words, said, capsys):
    assert netsim(*words.split()) == 2
    assert said in capsys.readouterr().err


def test_every_setting_that_chooses_is_explained():
    schema = json_schema(Scenario)
    for seam in SEAMS:
        first = explain(schema, seam.path)[0]
        assert first.startswith(f"{seam.path}: ")
        assert all(kind in first for kind in seam.choices), first


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("learning.aggregation=FedAvg", "unknown kind 'FedAvg', did you mean 'fedit'?"),
        ("learning.training.lr=0.1", "'lr', did you mean 'learning_rate'?"),
        (
            "learning.training.epochs=2",
            "'local_steps'? (an epoch is a client's samples",
        ),
        ("learning.training.batch_size=2", "mean 'per_device_train_batch_size'?"),
        ("server.kind=FedBuff", "did you mean 'buffered'?"),
    ],
)
def test_words_of_other_tools_are_understood(setting, said, capsys):
    assert netsim("check", "quickstart", "--set", setting) == 2
    assert said in capsys.readouterr().err
