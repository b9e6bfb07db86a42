"""Terminals and paths of encodings other than UTF-8."""

import io
import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fl.tasks.tables import read_table
from netsim.cli.encodings import write_anywhere
from netsim.cli.writing import write_table
from netsim.report.study_data import _sum_of_bits
from netsim.server.policies.planned import read_plan

COMMANDS = """
from tests.support.command import netsim
for words in (
    "run network-only --set stop.rounds=2 --out r",
    "compare r r",
    "plan network-only",
    "list",
    *(f"{name} --help" for name in ("merge", "merge-study", "study", "tune")),
):
    code = netsim(*words.split())
    assert code == 0, (words, code)
"""
PLAIN = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}


@pytest.mark.slow
def test_every_command_writes_to_an_ascii_terminal(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS],
        env={**os.environ, **PLAIN, "PYTHONPATH": os.getcwd(), "COLUMNS": "100"},
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    assert "W,W,..." in done.stdout.decode() + done.stderr.decode()
    assert "round 0/2 - simulated 0 ns" in done.stdout.decode() + done.stderr.decode()


def test_what_an_encoding_lacks_is_written_plainly(monkeypatch):
    content = io.BytesIO()
    stream = io.TextIOWrapper(content, encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    write_anywhere()
    path = os.fsdecode(b"run\xe9")
    print(f"a · b… ±1 {path} 東", end="")
    stream.flush()
    assert content.getvalue() == b"a - b... +-1 run\xe9 ?"
    assert content.getvalue().decode("ascii", stream.errors).endswith("run\ufffd ?")


def test_tables_are_read_from_a_path_of_any_bytes(tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    plan = pa.table({"client_id": [0], "sampling_probability": [0.5], "rank": [4]})
    for _ in range(2):  # the second call looks at the first one's file
        write_table(plan, folder / "plan.parquet")
    assert read_plan(folder / "plan.parquet", 1).ranks == (4,)
    path = folder / "texts.parquet"
    with open(path, "wb") as file:
        pq.write_table(pa.table({"label": ["a", "b"], "bits": [3, 4]}), file)
    assert _sum_of_bits(path) == 7
    assert read_table(str(path), ("label",), header=True).columns == (("a", "b"),)
