"""The scenarios that come with the package, by name."""

from __future__ import annotations

from pathlib import Path

import netsim
from netsim.errors import InputError
from netsim.quantities import closest

# by place, not by import: a user's own folder called "scenarios" must not hide ours
FOLDER = Path(netsim.__file__).resolve().parent.parent / "scenarios"


def names() -> list[str]:
    """Return the names of the shipped scenarios, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def find_scenario(given: str) -> Path:
    """Return the file that a user means: a path, or the name of a shipped scenario."""
    path = Path(given)
    looks_like_file = path.suffix in {".yaml", ".yml"} or path.name != given
    if looks_like_file or path.exists():
        return path
    if given in names():
        return FOLDER / f"{given}.yaml"
    near = closest(given, names())
    hint = f"; did you mean {near!r}?" if near else ""
    raise InputError(
        f"no file and no shipped scenario is called {given!r}{hint} "
        f"(shipped: {', '.join(names())})"
    )


def headline(name: str) -> str:
    """Return a shipped scenario's first line of comment."""
    lines = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    comments = [line[2:] for line in lines if line.startswith("# ")]
    return next((line for line in comments if "$schema" not in line), "")
