"""The scenarios that come with the package, by name."""

from __future__ import annotations

from pathlib import Path

from netsim.core.quantities import closest
from netsim.errors import InputError

# by place, not by import: a user's own folder called "scenarios" must not hide ours
FOLDER = Path(__file__).resolve().parents[2] / "scenarios"
TESTBEDS = FOLDER / "testbeds"
STUDIES = FOLDER / "studies"
TUNES = FOLDER / "tunes"


def names(folder: Path = FOLDER) -> list[str]:
    """Return the names of the shipped scenarios, or studies, sorted."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def find_scenario(given: str) -> Path:
    """Return the file that a user means: a path, or the name of a shipped scenario."""
    if given in names(TESTBEDS) and not Path(given).exists():
        return TESTBEDS / f"{given}.yaml"
    return _find(given, "scenario", FOLDER)


def find_study(given: str) -> Path:
    """Return the file that a user means: a path, or the name of a shipped study."""
    return _find(given, "study", STUDIES)


def find_tune(given: str) -> Path:
    """Return the file that a user means: a path, or the name of a shipped search."""
    return _find(given, "search", TUNES)


def _find(given: str, what: str, folder: Path) -> Path:
    path, known = Path(given), names(folder)
    looks_like_file = path.suffix in {".yaml", ".yml"} or path.name != given
    if looks_like_file or (path.exists() and not path.is_dir()):
        return path
    if given in known:  # a folder of this name, such as a run's, hides nothing
        return folder / f"{given}.yaml"
    near = closest(given, known)
    hint = f"; did you mean {near!r}?" if near else ""
    raise InputError(
        f"no file and no shipped {what} is called {given!r}{hint} "
        f"(shipped: {', '.join(known)})"
    )


def headline(name: str, folder: Path = FOLDER) -> str:
    """Return a shipped file's first line of comment."""
    lines = (folder / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    comments = [line[2:] for line in lines if line.startswith("# ")]
    return next((line for line in comments if "$schema" not in line), "")
