"""A reader that has gone, as after `| head -1`, ends no run."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

NETSIM = (sys.executable, "-m", "netsim")
RUN = ("run", "network-only", "--set", "stop.rounds=20", "--json-lines", "--quiet")


@pytest.mark.parametrize(
    "command", [RUN, ("list",), ("check", "network-only")], ids=["run", "list", "check"]
)
def test_a_command_outlasts_its_reader(command, tmp_path):
    folder = tmp_path / "run"
    where = ("--out", str(folder)) if command == RUN else ()
    with subprocess.Popen(
        [*NETSIM, *command, *where], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout.readline()
        process.stdout.close()
        told = process.stderr.read()
        assert process.wait() == 0
    assert told == b""
    if command == RUN:
        manifest = json.loads((folder / "manifest.json").read_text())
        assert manifest["status"] == "complete"
