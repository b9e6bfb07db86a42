"""A user's own classes: their sources are a part of what a result is named by.

Two classes of the same settings, or one before and after an edit, learn differently. So
does a class when a module that it imports is edited.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import secrets
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from pydantic import BaseModel

OURS = frozenset({"fl", "netsim", "pydantic"}) | sys.stdlib_module_names - {"__main__"}
INSTALLED = tuple(Path(path) for path in sysconfig.get_paths().values())


def own_code(parts: Iterable[object]) -> tuple[str, ...]:
    """Return name and digest of every class among the parts, and in them, that is not
    of this project."""
    return tuple(sorted(f"{_name(cls)} {_digest(cls)}" for cls in own_classes(parts)))


def sources(parts: Iterable[object]) -> dict[str, str]:
    """Return the SHA-256 of each file behind the classes among the parts that are not
    of this project, by its path from the folder that Python imports it from."""
    files = [item for cls in own_classes(parts) for item in _files(cls).items()]
    return dict(sorted(files))


def own_classes(parts: Iterable[object]) -> set[type]:
    """Return the classes among the parts, and in them, that are not of this project."""
    return {cls for part in parts for cls in _classes(part)}


def _classes(part: object) -> Iterator[type]:
    for cls in type(part).__mro__:
        if _top(cls.__module__) not in OURS:
            yield cls
    if isinstance(part, BaseModel):
        for _, value in part:
            yield from _classes(value)
    elif isinstance(part, tuple):
        for value in part:
            yield from _classes(value)


def _name(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _top(module: str) -> str:
    return module.partition(".")[0]


@cache
def _digest(cls: type) -> str:
    """Return the digest of a class's files."""
    listing = "".join(f"{name} {digest}\n" for name, digest in _files(cls).items())
    return hashlib.sha256(listing.encode()).hexdigest()


@cache
def _files(cls: type) -> Mapping[str, str]:
    """Return the digests of a class's own top-level module or package, and of those it
    imports that are not installed, as they are when first asked for; of a class that
    was typed in, that of its own source, and without any what is never the same."""
    own = _top(cls.__module__)
    start = _place(own, None)
    if start is None:
        return {_name(cls): _sha256(_typed_in(cls))}
    found, waiting, seen = dict[str, str](), [own], set(OURS)
    while waiting:
        name = waiting.pop()
        place = None if name in seen else _place(name, start.parent)
        seen.add(name)
        if place is None or (name != own and _is_installed(place)):
            continue
        for file in _python_files(place):
            content = file.read_bytes()
            found[file.relative_to(place.parent).as_posix()] = _sha256(content)
            waiting += _imported(content)
    return dict(sorted(found.items()))


def _typed_in(cls: type) -> bytes:
    try:
        return inspect.getsource(cls).encode()
    except (OSError, TypeError):
        return secrets.token_bytes()


def _place(name: str, beside: Path | None) -> Path | None:
    """Return the file or the folder of a top-level module, loaded or not."""
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    folders = list(getattr(module, "__path__", ()))
    if beside is not None and not file and not folders:
        near = (beside / f"{name}.py", beside / name)
        if found := next((path for path in near if path.exists()), None):
            return found
        file, folders = _searched(name)
    if folders:
        return Path(folders[0])
    return Path(file) if file and Path(file).is_file() else None


def _searched(name: str) -> tuple[str | None, list[str]]:
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        return None, []
    if spec is None:
        return None, []
    return spec.origin, list(spec.submodule_search_locations or ())


def _is_installed(place: Path) -> bool:
    return any(place.is_relative_to(folder) for folder in INSTALLED)


def _python_files(place: Path) -> list[Path]:
    if place.is_file():
        return [place] if place.suffix == ".py" else []
    below = (path for path in place.rglob("*.py") if path.is_file())
    hidden = ("site-packages", "__pycache__")
    return sorted(
        path
        for path in below
        if not any(
            part in hidden or part.startswith(".")
            for part in path.relative_to(place).parts
        )
    )


def _imported(content: bytes) -> Iterator[str]:
    """Yield the top-level modules that a source imports by name."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (_top(one.name) for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield _top(node.module)
        elif isinstance(node, ast.Call) and node.args:
            name, first = ast.unparse(node.func), node.args[0]
            is_import = name.rpartition(".")[2] in ("import_module", "__import__")
            if is_import and isinstance(first, ast.Constant):
                yield _top(str(first.value))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
