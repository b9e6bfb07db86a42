"""The documents say what is there: links, names, examples and columns."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import get_args

import pytest
import yaml
from typer.main import get_command

from netsim.cli.main import app
from netsim.cosim.commands.choices import SEAMS
from netsim.cosim.reading import read_scenario
from netsim.trace.literals import EventKind, Status
from netsim.trace.tables import TABLES
from tests.support.places import ROOT

DOCUMENTS = sorted(
    path
    for folder in ("*", "netsim/*", "scenarios/*", "results/**/*", "tests/*/*")
    for pattern in [f"{folder}.md"]
    for path in ROOT.glob(pattern)
    if not {"runs", ".venv"} & set(path.relative_to(ROOT).parts)
)
HANDBOOK = [ROOT / "README.md", ROOT / "scenarios/README.md", ROOT / "netsim/TRACE.md"]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(path: Path) -> set[str]:
    """Return the places in a document that a link may name."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", at).lower().replace(" ", "-") for at in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_links_lead_somewhere(document: Path):
    for link in LINK.findall(document.read_text()):
        if link.startswith(("http:", "https:")):
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(), re.M | re.S)


@pytest.mark.parametrize("document", HANDBOOK, ids=named)
def test_examples_are_sound(document: Path):
    for block in blocks(document, "yaml"):
        yaml.safe_load(block)
    for block in blocks(document, "python"):
        compile(block, str(document), "exec")


def test_the_scenario_of_the_front_page_is_taken(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text(blocks(ROOT / "README.md", "yaml")[0])
    assert read_scenario(path).name == "my-fleet"


@pytest.mark.parametrize("document", HANDBOOK, ids=named)
def test_commands_and_shipped_names_exist(document: Path):
    text = document.read_text()
    commands = set(get_command(app).commands)
    assert set(re.findall(r"`netsim ([a-z][a-z-]+)", text)) <= commands
    shipped = {path.stem for path in (ROOT / "scenarios").rglob("*.yaml")}
    for name in re.findall(r"netsim (?:run|study|tune) ([a-z][a-z-]+)[` ]", text):
        assert name in shipped


@pytest.mark.parametrize("folder", ["scenarios", "scenarios/studies"])
def test_every_shipped_file_is_in_the_handbook(folder: str):
    text = (ROOT / "scenarios/README.md").read_text()
    for path in (ROOT / folder).glob("*.yaml"):
        assert f"`{path.stem}`" in text


def tables() -> str:
    """Return the tables of a trace with their columns, as the document has them."""
    lines = ["| table | a row is | sorted by | columns |", "|---|---|---|---|"]
    for name, table in TABLES.items():
        columns = ", ".join(
            f"`{column}`" + (f" ({said})" if (said := table.notes.get(column)) else "")
            for column in table.row._fields
        )
        order = " ".join(f"`{column}`" for column in table.order.by)
        lines.append(f"| `{name}` | {table.meaning} | {order} | {columns} |")
    return "\n".join(lines)


def test_columns_are_those_of_the_trace():
    text = (ROOT / "netsim/TRACE.md").read_text()
    start, end = "<!-- tables -->\n", "\n<!-- end of tables -->"
    assert text.partition(start)[2].partition(end)[0] == tables()


@pytest.mark.parametrize(
    ("name", "words"), [("statuses", Status), ("event kinds", EventKind)]
)
def test_words_of_the_trace_are_explained(name, words):
    text = (ROOT / "netsim/TRACE.md").read_text()
    part = text.partition(f"<!-- {name} -->")[2].partition(f"<!-- end of {name} -->")[0]
    assert re.findall(r"^\| `([^`]+)`", part, re.MULTILINE) == list(get_args(words))


def test_public_names_can_be_imported():
    text = (ROOT / "netsim/API.md").read_text()
    names = re.findall(r"`((?:netsim|fl)(?:\.\w+)+)`", text)
    assert len(names) > 20
    for name in names:
        module, _, attribute = name.rpartition(".")
        try:
            assert hasattr(importlib.import_module(module), attribute), name
        except ModuleNotFoundError:
            pytest.fail(f"API.md names {name}")


def test_every_seam_is_in_the_page_of_interfaces():
    page = (ROOT / "netsim/API.md").read_text()
    paths = {seam.path for seam in SEAMS} - {"cell.fading", "cell.path_loss"}
    paths = paths - {"cell.uplink.radio"} | {"cell"}
    assert [one for one in sorted(paths) if f"`{one}`" not in page] == []


def programs(folder):
    """Return the Python files of a folder that are run by themselves, and folders."""
    for path in (ROOT / "tests" / folder).iterdir():
        if path.suffix == ".py" and '__name__ == "__main__"' in path.read_text():
            yield path.stem
        if path.is_dir() and list(path.glob("*.py")):
            yield path.name


@pytest.mark.parametrize("folder", ["benchmarks", "torture"])
def test_every_program_is_in_its_readme(folder):
    text = (ROOT / "tests" / folder / "README.md").read_text()
    assert [name for name in programs(folder) if name not in text] == []
