"""The code that a result depends on: the modules that its parts' classes import.

Imports are read, never carried out, and followed through this project and through a
user's own modules, not into installed packages, whose versions count instead. A choice
of this project, a class that the table of its room lists, counts where it is chosen:
an import from another room is a default. Neither a comment nor a docstring counts.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import secrets
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel

from fl.memory.reaches import reaches
from fl.memory.sources import Import, Source, sources

OURS = frozenset({"fl", "netsim"})
WITHOUT_EFFECT = ("fl.memory",)  # names results and keeps them
NOT_OWN = OURS | {"pydantic"} | (sys.stdlib_module_names - {"__main__"})
INSTALLED = tuple(Path(path) for path in sysconfig.get_paths().values())
ROOT = Path(__file__).parents[2]
PACKAGES = tuple(str(ROOT / name) for name in sorted(OURS))


class Module(NamedTuple):
    """A module's full name, its file, and the folder that it is imported from."""

    name: str
    file: Path
    root: Path

    @property
    def is_ours(self) -> bool:
        return _top(self.name) in OURS

    @property
    def is_package(self) -> bool:
        return self.file.name == "__init__.py"

    @property
    def room(self) -> str:
        """Return the package that holds it, itself where it is one."""
        return self.name if self.is_package else self.name.rpartition(".")[0]


def code_of(roots: Iterable[str], parts: Iterable[object] = ()) -> dict[str, str]:
    """Return the digest of each module's code that modules of this project, and the
    classes of parts and of what these hold, depend on: by its path from the folder that
    Python imports it from. A class that was typed in has a digest of its own source,
    without any one that is never the same."""
    found: dict[str, str] = {}
    for root in roots:
        found |= _of_module(root)
    for cls in classes(parts):
        found |= _of_class(cls)
    reaches(PACKAGES).keep()
    sources().keep()
    return dict(sorted(found.items()))


def code_digest(roots: Iterable[str], parts: Iterable[object] = ()) -> str:
    """Return the SHA-256 of all the code that modules and parts depend on, and of the
    names of a user's classes among the parts: one file may hold several."""
    parts = tuple(parts)
    names = {f"{cls.__module__}:{cls.__qualname__}": "" for cls in own_classes(parts)}
    return listing_digest(names | code_of(roots, parts))


def listing_digest(code: Mapping[str, str]) -> str:
    """Return the SHA-256 of a listing of modules."""
    listing = "".join(f"{name} {digest}\n" for name, digest in sorted(code.items()))
    return hashlib.sha256(listing.encode()).hexdigest()


def classes(parts: Iterable[object]) -> set[type]:
    """Return the classes of parts and of what they hold, with their bases."""
    return {cls for part in parts for cls in _classes(part)}


def own_classes(parts: Iterable[object]) -> set[type]:
    """Return the classes among the parts, and in them, that are not of this project."""
    return {cls for cls in classes(parts) if _top(cls.__module__) not in OURS}


def own_files(parts: Iterable[object]) -> dict[str, Path]:
    """Return the files of a user's own code that the parts depend on and that are not
    installed, by the paths that ``code_of`` gives them."""
    found = {}
    for cls in own_classes(parts):
        if (start := _module_of(cls)) is not None:
            for one in reached((start,)):
                if not one.is_ours and not _is_installed(one.file):
                    found[_path(one)] = one.file
    return found


def edited_since_loaded(parts: Iterable[object]) -> list[str]:
    """Return the files of the parts' own classes that are no longer what they were when
    first asked for, by the paths of ``code_of``; asked for as the parts are read."""
    found = set[str]()
    for cls in own_classes(parts):
        if _module_of(cls) is not None:
            before, now = _of_class(cls), _of_class.__wrapped__(cls)
            found |= {path for path, _ in before.items() ^ now.items()}
    return sorted(found)


def every_source(package: str) -> dict[str, str]:
    """Return the SHA-256 of all files of a package of this project."""
    files = sorted((ROOT / package).rglob("*.py"))
    return {
        one.relative_to(ROOT).as_posix(): hashlib.sha256(one.read_bytes()).hexdigest()
        for one in files
    }


def is_own(path: str) -> bool:
    """Return whether a path of a listing is of a user's own code."""
    return _top(path.replace("/", ".")) not in OURS


def _classes(part: object) -> Iterator[type]:
    for cls in type(part).__mro__:
        if _top(cls.__module__) not in NOT_OWN - OURS:
            yield cls
    if isinstance(part, BaseModel):
        for _, value in part:
            yield from _classes(value)
    elif isinstance(part, Mapping):
        for value in part.values():
            yield from _classes(value)
    elif isinstance(part, tuple | list):
        for value in part:
            yield from _classes(value)


def _top(module: str) -> str:
    return module.partition(".")[0]


@cache
def _of_module(name: str) -> Mapping[str, str]:
    return reaches(PACKAGES).of(name, lambda: _reached_by_ours(name))


def _reached_by_ours(name: str) -> Mapping[str, str]:
    start = _ours(name)
    assert start is not None, name
    return {_path(one): _source(one).digest for one in reached((start,))}


@cache
def _of_class(cls: type) -> Mapping[str, str]:
    """Return the code of a class as it is when first asked for: as it was loaded."""
    if _top(cls.__module__) in OURS:
        return _of_module(cls.__module__)
    start = _module_of(cls)
    if start is None:
        digest = hashlib.sha256(_typed_in(cls)).hexdigest()
        return {f"{cls.__module__}:{cls.__qualname__}": digest}
    return {_path(one): _source(one).digest for one in reached((start,))}


def _typed_in(cls: type) -> bytes:
    try:
        return inspect.getsource(cls).encode()
    except (OSError, TypeError):
        return secrets.token_bytes()


def _module_of(cls: type) -> Module | None:
    """Return the module of a class; None where it has no file."""
    loaded = sys.modules.get(cls.__module__)
    file = None if loaded is None else loaded.__dict__.get("__file__")
    if file is None or not Path(file).is_file():
        return None
    path = Path(file).resolve()
    depth = cls.__module__.count(".") + (path.name == "__init__.py")
    return Module(cls.__module__, path, path.parents[depth])


def reached(starts: Iterable[Module]) -> set[Module]:
    """Return modules, and all that they import, directly or not."""
    found, waiting = set[Module](), list(starts)
    while waiting:
        one = waiting.pop()
        if one not in found and not one.name.startswith(WITHOUT_EFFECT):
            found.add(one)
            waiting += _imports_of_ours(one) if one.is_ours else _imported(one)
    return found


@cache
def _imports_of_ours(module: Module) -> tuple[Module, ...]:
    return tuple(dict.fromkeys(_imported(module)))


def _imported(module: Module) -> Iterator[Module]:
    """Yield the modules that one imports and that count."""
    source, own_top = _source(module), _top(module.name)
    if not module.is_ours:
        yield from _packages(module.name, module.root)
        if source.is_open and module.name != own_top:
            yield from _all_of(own_top, module.root)
    for one in source.imports:
        if one.level:
            one = _absolute(one, module)
        top = _top(one.module)
        if top in OURS:
            found = _definer(one, module)
            yield from () if found is None else (found,)
        elif not module.is_ours and top not in NOT_OWN:
            for found in _executed(one, module.root):
                if top == own_top or not _is_installed(found.file):
                    yield found


def _absolute(one: Import, module: Module) -> Import:
    parts = module.room.split(".")
    base = ".".join(parts[: len(parts) - one.level + 1])
    return Import(f"{base}.{one.module}".strip("."), one.name, 0)


def _executed(one: Import, root: Path) -> Iterator[Module]:
    """Yield the modules that Python executes for an import."""
    yield from _packages(one.module, root)
    for name in (one.module, f"{one.module}.{one.name}" if one.name else ""):
        if name and (found := _found(name, root)) is not None:
            yield found


def _packages(name: str, root: Path) -> Iterator[Module]:
    """Yield the packages that hold a module, which Python runs before it."""
    parts = name.split(".")
    for end in range(1, len(parts)):
        if (found := _found(".".join(parts[:end]), root)) is not None:
            yield found


def _definer(one: Import, importer: Module) -> Module | None:
    """Return the module of this project that defines what is imported; None where it is
    another room's choice, or the table of its choices."""
    within = _ours(f"{one.module}.{one.name}") if one.name else None
    module = within or _ours(one.module)
    if module is None or within is not None:
        return module
    is_choice = _lists(module.room, one.name)
    while (copied := _source(module).origin(one.name)) and module.is_package:
        found = _ours(copied[0])
        if found is None:
            break
        module = found
        is_choice = is_choice or _lists(module.room, one.name)
    is_another_room = module.room != importer.room and importer.is_ours
    return None if is_choice and is_another_room else module


def _lists(room: str, name: str) -> bool:
    found = _ours(room)
    return found is not None and name in _source(found).listed


def _all_of(top: str, root: Path) -> Iterator[Module]:
    """Yield every module of a package that imports by names that it computes."""
    package = _found(top, root)
    if package is None or not package.is_package:
        return
    for file in sorted(package.file.parent.rglob("*.py")):
        parts = file.relative_to(root).with_suffix("").parts
        if not any(part.startswith(".") or part == "site-packages" for part in parts):
            name = ".".join(parts).removesuffix(".__init__")
            yield Module(name, file, root)


@cache
def _ours(name: str) -> Module | None:
    return _within(name, ROOT)


def _found(name: str, beside: Path) -> Module | None:
    """Return a module from the folder of another, else where Python's path has it; what
    the process has loaded does not matter."""
    places = (_within(name, root) for root in _path_from(beside))
    return next(filter(None, places), None)


def _path_from(beside: Path) -> Iterator[Path]:
    yield beside
    yield from (Path(folder or ".").resolve() for folder in sys.path)


def _within(name: str, root: Path) -> Module | None:
    place = os.path.join(root, *name.split("."))
    for file in (os.path.join(place, "__init__.py"), f"{place}.py"):
        if os.path.isfile(file):
            return Module(name, Path(file), root)
    return None


def _source(module: Module) -> Source:
    return _read_once(module.file) if module.is_ours else _read(module.file)


@cache
def _read_once(file: Path) -> Source:
    """Return a source of this project as it is when first asked for: as it runs."""
    return _read(file)


def _read(file: Path) -> Source:
    return sources().of(file.read_bytes())


def _path(module: Module) -> str:
    return module.file.relative_to(module.root).as_posix()


def _is_installed(file: Path) -> bool:
    return any(file.is_relative_to(folder) for folder in INSTALLED)
