"""The notebooks: each runs from top to bottom, and none is stored with its outputs."""

import json
from pathlib import Path

import pandas as pd
import pytest

from netsim.cosim import shipped

pytestmark = pytest.mark.slow

NOTEBOOK_ANSWERS = (  # of the ten questions, the first being run.time_to
    "stragglers",
    "band_use",
    "participation",
    "jain_index",
    "bits",
    "energy",
    "merge_error",
    "staleness",
    "critical_path",
    "without_clients",
    "without_phases",
    "idle_time",
)
NOTEBOOKS = sorted((shipped.FOLDER / "notebooks").glob("*.ipynb"))


def cells(path, kind="code"):
    """Return the sources of a notebook's cells of one kind."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    found = [cell for cell in notebook["cells"] if cell["cell_type"] == kind]
    assert all(not cell.get("outputs") for cell in found)
    return ["".join(cell["source"]) for cell in found]


def played(path):
    """Run a notebook's cells in one namespace and return that."""
    namespace = {"__name__": path.stem}
    for number, source in enumerate(cells(path)):
        exec(compile(source, f"{path.name}[{number}]", "exec"), namespace)
    return namespace


def test_there_is_one():
    assert [path.name for path in NOTEBOOKS] == ["first-look.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_as_jupyter_wants_it(path):
    nbformat = pytest.importorskip("nbformat")
    nbformat.validate(nbformat.read(path, as_version=4))


def test_the_first_look_answers_the_questions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (path,) = [path for path in NOTEBOOKS if path.stem == "first-look"]
    found = played(path)
    run, wider = found["run"], found["wider"]
    assert Path("results/runs").is_dir()
    assert run.manifest.status == wider.manifest.status == "complete"
    assert wider.manifest.steps_trained == 0
    assert isinstance(run.time_to("accuracy", 0.6), pd.Timedelta)
    assert wider.time_to("accuracy", 0.6) < run.time_to("accuracy", 0.6)
    assert found["curve"]["time"].dtype.kind == "m"
    asked = "\n".join(cells(path))
    for name in NOTEBOOK_ANSWERS:
        assert f"questions.{name}(" in asked
