"""The division of the house: who may import whom."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = {"torch", "peft", "transformers"}
COUPLING = ROOT / "netsim" / "cosim"
USERS_OF_COSIM = ROOT / "netsim" / "cli"


def imported(path):
    """Return the dotted names that a module imports, wherever it does."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            yield node.module


def packages(path):
    return {name.split(".")[0] for name in imported(path)}


@pytest.mark.parametrize("path", sorted((ROOT / "netsim").rglob("*.py")), ids=str)
def test_netsim_never_imports_learning(path):
    assert not packages(path) & HEAVY
    if COUPLING not in path.parents:
        assert not any(
            name.split(".")[0] == "fl" and name != "fl.contract"
            for name in imported(path)
        )


@pytest.mark.parametrize("path", sorted((ROOT / "fl").rglob("*.py")), ids=str)
def test_fl_never_imports_the_network(path):
    assert not packages(path) & {"netsim", "simpy"}


@pytest.mark.parametrize("path", sorted((ROOT / "netsim").rglob("*.py")), ids=str)
def test_only_the_edge_imports_the_coupling(path):
    allowed = {COUPLING, USERS_OF_COSIM} & {path.parent, *path.parents}
    if not allowed and path.name != "__init__.py":
        assert not any(name.startswith("netsim.cosim") for name in imported(path))
