"""Every recipe of CONTRIBUTING.md, done as it is written."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib

import pytest

from netsim import load_run
from netsim.verify import verify
from tests.support.command import netsim
from tests.support.floors import drawn
from tests.support.places import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text()
RECIPES = dict(part.split("\n", 1) for part in re.split(r"^### ", TEXT, flags=re.M)[1:])
OTHERS = ("A package of plug-ins", "A table")
OF_ONE_CLASS = [name for name in RECIPES if name not in OTHERS]


def blocks(name, language):
    return re.findall(rf"^```{language}\n(.*?)^```", RECIPES[name], re.M | re.S)


def test_there_are_recipes_for_every_seam():
    assert set(RECIPES) == {
        *("A sharing rule", "A merge", "A sampler", "A server", "A task", "A table"),
        *("Local training", "A package of plug-ins"),
    }
    for name in RECIPES:
        assert sum(len(text.splitlines()) for text in blocks(name, "python")) <= 35


@pytest.mark.parametrize("name", OF_ONE_CLASS)
def test_a_class_can_move_into_its_room(name):
    """It imports no package whose list it is to join: that would be a circle."""
    (code,) = blocks(name, "python")
    rooms = set(re.findall(r"^\| .*? \| `\w+` in `([\w/]+)`", TEXT, re.M))
    assert len(rooms) == len(OF_ONE_CLASS)
    imports = set(re.findall(r"^from (\S+) import", code, re.M))
    assert imports & {room.replace("/", ".") for room in rooms} == set()


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_ONE_CLASS)
def test_a_class_runs_as_the_recipe_has_it(name, tmp_path, monkeypatch):
    (code,) = blocks(name, "python")
    (command,) = blocks(name, "sh")
    module = re.match(r"# (\w+)\.py\n", code)[1]
    (tmp_path / f"{module}.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    words = shlex.split(command)
    assert words[0] == "netsim"
    assert netsim(*words[1:], "--out", tmp_path / "run", "--quiet") == 0
    sys.modules.pop(module)
    assert verify(tmp_path / "run") == []
    assert len(load_run(tmp_path / "run").rounds) >= 1


def test_the_sampler_of_the_recipe_keeps_its_contract(tmp_path, monkeypatch, capsys):
    (code,) = blocks("A sampler", "python")
    (tmp_path / "root_of_data.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    given = "{kind: 'root_of_data:RootOfData', mean_drawn: 3}"
    assert netsim("check", "--plug-in", given) == 0
    sys.modules.pop("root_of_data")
    assert ", draw 4\nkeeps its contract" in capsys.readouterr().out


def test_an_installed_class_runs_by_its_kind(tmp_path, monkeypatch):
    (toml,) = blocks("A package of plug-ins", "toml")
    (command,) = blocks("A package of plug-ins", "sh")
    entries = tomllib.loads(toml)["project"]["entry-points"]["netsim.plugins"]
    site, info = tmp_path / "site", tmp_path / "site" / "mine-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    lines = [f"{name} = {place}" for name, place in entries.items()]
    (info / "entry_points.txt").write_text("\n".join(["[netsim.plugins]", *lines, ""]))
    (code,) = blocks("A sharing rule", "python")
    (site / "root_weighted.py").write_text(code)
    monkeypatch.syspath_prepend(site)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    words = shlex.split(command)
    assert netsim(*words[1:], "--out", tmp_path / "run", "--quiet") == 0
    sys.modules.pop("root_weighted")
    assert verify(tmp_path / "run") == []


WRITES_A_ROW = """
from pathlib import Path
from netsim.runs.run import read_table
from netsim.trace.rows import Reception
from netsim.trace.writer import Recorder

recorder = Recorder(Path("run"))
recorder.receptions.append(Reception(7, 2))
recorder.receptions.append(Reception(8, 1))
recorder.close()
print(read_table(Path("run"), "receptions").to_pylist())
"""


def test_a_table_is_a_class_and_a_line(tmp_path):
    tree = tmp_path / "tree"
    for package in ("netsim", "fl"):
        shutil.copytree(
            ROOT / package,
            tree / package,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    row, line = blocks("A table", "python")
    rows, tables = tree / "netsim/trace/rows.py", tree / "netsim/trace/tables.py"
    assert row.startswith("# netsim/trace/rows.py\n")
    assert line.startswith("# netsim/trace/tables.py\n")
    rows.write_text(f"{rows.read_text()}\n\n{row}")
    text, end = tables.read_text(), "\n    def __init__(self, **given"
    assert text.count(end) == 1
    tables.write_text(text.replace(end, f"{line.partition(chr(10))[2]}{end}"))
    (tree / "run").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", WRITES_A_ROW], cwd=tree, capture_output=True, text=True
    )
    assert done.stdout.strip() == (
        "[{'task_id': 7, 'time_ns': 2}, {'task_id': 8, 'time_ns': 1}]"
    ), done.stderr


def test_the_floors_are_drawn_as_they_are():
    assert f"<!-- floors -->\n{drawn()}\n<!-- end of floors -->" in TEXT
