"""What a command imports: counted in modules, since seconds depend on the machine."""

import json
import subprocess
import sys

import pytest

CODE = """
import json, sys
from netsim.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print()
print(json.dumps(sorted(sys.modules)))
"""
LEARNING = {"torch", "transformers", "peft", "tokenizers", "safetensors"}
TABLES = {"pandas", "pyarrow"}


def modules_of(*arguments):
    command = [sys.executable, "-c", CODE, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    ("command", "most", "never"),
    [
        (["--help"], 360, LEARNING | TABLES | {"numpy", "pydantic", "simpy"}),
        (["check", "network-only"], 760, LEARNING | TABLES),
        (
            ["run", "network-only", "--quiet", "--set", "stop.rounds=1"],
            880,
            LEARNING | {"pandas"},
        ),
    ],
)
def test_a_command_imports_what_it_needs(command, most, never, tmp_path):
    out = ["--out", str(tmp_path / "run")] if command[0] == "run" else []
    found = modules_of(*command, *out)
    assert not found & never
    assert len(found) <= most
