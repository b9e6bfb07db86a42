"""The table of commands: each is found, described as it describes itself, and lazy."""

import inspect
import subprocess
import sys
from importlib import import_module

from netsim.cli.main import COMMANDS
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
