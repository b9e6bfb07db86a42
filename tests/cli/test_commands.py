"""The table of commands: each is found, described as it describes itself, and lazy."""

import inspect
import subprocess
import sys
from importlib import import_module

import pytest

from netsim.cli.main import COMMANDS
from tests.support.places import ROOT

HEAVY = ("pandas", "pyarrow", "torch", "pydantic", "numpy", "simpy", "fl")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_says_what_the_command_says_of_itself(name):
    place, summary = COMMANDS[name]
    module, _, function = place.partition(":")
    found = inspect.getdoc(getattr(import_module(f"netsim.cli.{module}"), function))
    assert " ".join(found.split("\n\n")[0].split()) == summary


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
