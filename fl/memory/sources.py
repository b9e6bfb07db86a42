"""A source file without its comments: the digest of its code, and its imports.

Parsing takes half a millisecond a file, so that what was found is kept, by content.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

from fl.memory.files import Damaged, cache_folder, read_checked, write_checked

MOST_KEPT = 3_000  # of all versions of all files
READS_ITSELF = (b"__doc__", b"getsource")  # a program to which its comments matter
VERSION = f"1-{sys.version_info.major}.{sys.version_info.minor}"  # of the parser


class Import(NamedTuple):
    """``from module import name``; without a name, ``import module``."""

    module: str
    name: str
    level: int  # of a relative import: the number of dots


class Source(NamedTuple):
    """What counts of a file's text.

    ``digest`` is that of the parsed code without docstrings: neither comments nor
    layout change it. ``listed`` are the names in the tables of choices at its top
    level, and of these tables. ``is_open``: it imports by names that it computes.
    """

    digest: str
    imports: tuple[Import, ...] = ()
    listed: frozenset[str] = frozenset()
    is_open: bool = False

    def origin(self, name: str) -> tuple[str, str] | None:
        """Return the module and name of which a known name is a copy."""
        return next(
            ((one.module, one.name) for one in self.imports if one.name == name), None
        )


class Sources:
    """Sources by the SHA-256 of their text, kept between processes."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"sources-{VERSION}.json"
        self._is_changed = False

    def of(self, content: bytes) -> Source:
        """Return the source of a file's content."""
        key = hashlib.sha256(content).hexdigest()
        if key not in self._known:
            self._known[key] = parsed(content)
            self._is_changed = True
        return self._known[key]

    def keep(self) -> None:
        """Write what was learned since the last time; the oldest leave first."""
        if not self._is_changed:
            return
        known = [*self._known.items()][-MOST_KEPT:]
        rows = {k: [*s[:2], sorted(s.listed), s.is_open] for k, s in known}
        write_checked(self._path, json.dumps(rows).encode())
        self._is_changed = False

    @cached_property
    def _known(self) -> dict[str, Source]:
        try:
            rows = json.loads(read_checked(self._path))
        except (FileNotFoundError, Damaged):
            return {}
        return {
            key: Source(digest, tuple(Import(*i) for i in found), frozenset(lists), far)
            for key, (digest, found, lists, far) in rows.items()
        }


@cache
def kept_sources(folder: Path) -> Sources:
    """Return the sources known in a cache folder, read once, when first asked for."""
    return Sources(folder)


def sources() -> Sources:
    """Return the sources known in this user's cache."""
    return kept_sources(cache_folder())


def parsed(content: bytes) -> Source:
    """Return the source of some content; of what is no Python its bytes count."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Source(hashlib.sha256(content).hexdigest())
    imports = tuple(dict.fromkeys(_imports(tree)))
    is_open = any(map(_is_computed, ast.walk(tree)))
    listed = frozenset(_listed(tree))
    if not any(mark in content for mark in READS_ITSELF):
        _drop_docstrings(tree)
        content = ast.dump(tree, annotate_fields=False).encode()
    return Source(hashlib.sha256(content).hexdigest(), imports, listed, is_open)


def _imports(tree: ast.Module) -> Iterator[Import]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(one.name, "", 0) for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            for one in node.names:
                yield Import(node.module or "", one.name, node.level)
        elif isinstance(node, ast.Call) and _names_module(node):
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield Import(first.value, "", 0)


def _names_module(node: ast.Call) -> bool:
    """Return whether a call imports the module that its first argument names."""
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else ""
    name = function.id if isinstance(function, ast.Name) else name
    return name in ("import_module", "__import__") and bool(node.args)


def _is_computed(node: ast.AST) -> bool:
    is_import = isinstance(node, ast.Call) and _names_module(node)
    return is_import and not isinstance(node.args[0], ast.Constant)  # type: ignore[attr-defined]


def _listed(tree: ast.Module) -> Iterator[str]:
    """Yield the names of tables such as ``TASKS = {"digits": Digits}``, and of what
    they list."""
    for node in tree.body:
        if not isinstance(node, ast.Assign | ast.AnnAssign):
            continue
        table = node.value
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if not isinstance(table, ast.Dict) or not table.values:
            continue
        names = [one.id for one in table.values if isinstance(one, ast.Name)]
        if len(names) == len(table.values):
            yield from names
            yield from (one.id for one in targets if isinstance(one, ast.Name))


def _drop_docstrings(tree: ast.Module) -> None:
    holders = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(tree):
        if isinstance(node, holders) and ast.get_docstring(node, clean=False):
            node.body = node.body[1:]
