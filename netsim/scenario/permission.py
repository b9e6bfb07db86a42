"""Classes of a user's own: which may be imported, and from where.

A scenario that names one is a program. Without further permission its module must be
installed, or lie in the working tree: the current directory, or the scenario's folder
below it. The folder of a run is data: code that a stranger's run brings is never run.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from pydantic import ValidationInfo

from fl.record import Record
from netsim.core.quantities import did_you_mean

OURS = frozenset({"fl", "netsim"})
KEPT_CODE = "code"  # in the folder of a run: the modules of its user, as they were
RUN_FILES = ("manifest.json", "scenario.yaml")  # of a run's folder


def _unheard(line: str) -> None:
    """Print nothing."""


@dataclass(frozen=True, slots=True)
class UserCode:
    """Permission to import classes of a user's own.

    With ``allows_given`` a module in the scenario's own folder may be imported wherever
    that folder is. ``searched`` are the folders that another process has settled, and
    ``app`` is a Flower app that a person has named. ``tell`` is called before an
    import, with a line that names the file.
    """

    allows_given: bool = False
    app: Path | None = None
    searched: tuple[Path, ...] | None = None
    tell: Callable[[str], None] = _unheard

    def for_worker(self, given: Path) -> UserCode:
        """Return this permission for a process whose current directory may differ."""
        return UserCode(allows_given=True, searched=tuple(self.folders(given)))

    def folders(self, given: Path | None) -> Sequence[Path]:
        """Return the folders to search besides Python's own path; ``given`` is the
        scenario's."""
        if self.searched is not None:
            return self.searched
        here = Path().resolve()
        wanted = [] if given is None else [given.resolve()]
        if self.allows_given:
            kept = [one / KEPT_CODE for one in wanted if _is_run(one)]
            wanted = [*kept, *wanted]
            return list(dict.fromkeys([*wanted, here]))
        own = [one for one in (*wanted, here) if one.is_relative_to(here)]
        is_root = here == Path(here.anchor)
        return [] if is_root else [one for one in own if not _is_run(one)]


WORKING_TREE = UserCode()


def announcing(tell: Callable[[str], None], *, allows_given: bool = False) -> UserCode:
    """Return the permission whose lines are each printed once, before a module runs."""
    told: set[str] = set()

    def once(line: str) -> None:
        if line not in told:
            told.add(line)
            tell(line)

    return UserCode(allows_given=allows_given, tell=once)


def import_record(
    kind: str, folder: Path | None, code: UserCode = WORKING_TREE
) -> type[Record]:
    """Import a user's class; raise ``ImportError`` where that is not allowed."""
    module_name, _, class_name = kind.partition(":")
    if not all(part.isidentifier() for part in module_name.split(".")):
        raise ImportError(f"{kind!r} is not of the form package.module:Class")
    top = module_name.partition(".")[0]
    with _importable(code.folders(folder)) as extra:
        if top not in OURS:
            place = _place(top, folder, code, extra)
            if place is not None:
                code.tell(f"this scenario is a program: {kind} runs from {place}")
        found = _imported(module_name)
    names = vars(found)
    for part in class_name.split("."):
        found = getattr(found, part, None)
    if found is None:
        hint = did_you_mean(class_name, names)
        raise ImportError(f"module {module_name!r} has no class {class_name!r}{hint}")
    if not (isinstance(found, type) and issubclass(found, Record)):
        raise ImportError(f"{kind!r} is not a subclass of netsim.scenario.Record")
    return found


def app_folder(folder: str, info: ValidationInfo) -> str:
    """Return the folder of an app, whose code may run: it lies in the working tree, or
    a wider permission was given. Without any word of code nothing will run."""
    code = (info.context or {}).get("code", WORKING_TREE)
    place = Path(folder).resolve()
    if code is None:
        return folder
    if not place.is_dir():
        raise ValueError(f"must be the folder of an app, got '{folder}'")
    is_ours = place.is_relative_to(Path().resolve()) and not _is_anothers(place)
    is_allowed = code.allows_given or code.searched is not None or place == code.app
    if not (is_allowed or is_ours):
        raise ValueError(
            f"'{folder}' is not run: it lies outside your working tree. Read it; then "
            "--allow-code runs it, or a copy of it in the current directory"
        )
    code.tell(f"this scenario is a program: an app runs from {place}")
    return folder


def _imported(module_name: str) -> object:
    try:
        return importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # a user's module may fail in any way
        raise ImportError(f"cannot import {module_name!r}: {error!r}") from error


def _place(
    top: str, folder: Path | None, code: UserCode, extra: Sequence[Path]
) -> Path | None:
    """Return the file or folder of a module without executing it, None if Python finds
    none; raise ``ImportError`` where it may not be imported."""
    if top in sys.stdlib_module_names:
        raise ImportError(f"{top!r} is a module of Python itself: it has no such class")
    places = _places(top)
    if not places:
        beside = None if folder is None else _beside(top, folder)
        if beside is None:
            return None  # unknown, or typed in: the import itself says which
        raise ImportError(_refused(top, beside, "outside your working tree"))
    for place in () if code.allows_given else places:
        if any(map(_is_run, place.parents)):
            raise ImportError(_refused(top, place, "in the folder of a run"))
        if any(place.is_relative_to(one) for one in extra) and _is_anothers(place):
            raise ImportError(_refused(top, place, "and belongs to another user"))
    return places[0]


def _refused(top: str, place: Path, why: str) -> str:
    return (
        f"{top!r} is not run: it lies in {place}, {why}. Read it; then --allow-code "
        "runs it, or a copy of it in the current directory"
    )


def _places(top: str) -> list[Path]:
    """Return where Python finds a top-level module, several places for a namespace."""
    try:
        spec = find_spec(top)
    except ValueError:  # a module without a spec, such as __main__
        return []
    if spec is None:
        return []
    found = spec.submodule_search_locations or [spec.origin or ""]
    return [Path(one).resolve() for one in found if one]


def _beside(top: str, folder: Path) -> Path | None:
    """Return the module that lies in the scenario's folder, or in what a run keeps of
    its code there, which were not searched."""
    places = [str(folder.resolve()), str(folder.resolve() / KEPT_CODE)]
    spec = importlib.machinery.PathFinder.find_spec(top, places)
    return None if spec is None or spec.origin is None else Path(spec.origin)


def _is_run(folder: Path) -> bool:
    return all((folder / name).is_file() for name in RUN_FILES)


def _is_anothers(place: Path) -> bool:
    """Return whether a module, or the folder it lies in, belongs neither to this user
    nor to the owner of the current directory."""
    if sys.platform == "win32":  # files there have no such owner
        return False
    known = {0, os.geteuid(), os.stat(".").st_uid}
    return any(path.stat().st_uid not in known for path in (place, place.parent))


@contextmanager
def _importable(folders: Sequence[Path]) -> Iterator[Sequence[Path]]:
    """Append folders to the import path."""
    extra = list(map(str, folders))
    sys.path.extend(extra)
    try:
        yield folders
    finally:
        for path in extra:
            sys.path.reverse()
            sys.path.remove(path)
            sys.path.reverse()
