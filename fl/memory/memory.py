"""What a federation remembers: its results by recipe and environment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from fl.memory import recipe
from fl.memory.files import inside
from fl.memory.store import Entry, Store

T = TypeVar("T")
LARGEST_FOLDER_BYTES = 64_000_000


class Memory:
    """A store seen from one environment, or no memory beyond this process."""

    def __init__(self, store: Store | None, environment: recipe.Environment) -> None:
        self._store = store
        self._environment = environment
        # entries without numbers are kept in any case; a recipe has one kind of record
        self._small: dict[str, Entry[Any]] = {}

    def recall(self, name: str, kind: type[T]) -> Entry[T] | None:
        """Return the result of a recipe, if it is remembered."""
        if name in self._small:
            return self._small[name]
        if self._store is None:
            return None
        return self._store.recall(recipe.store_key(name, self._environment), kind)

    def get(self, name: str, kind: type[T], make: Callable[[], Entry[T]]) -> Entry[T]:
        """Return the result of a recipe: remembered, or made and remembered now."""
        entry = self.recall(name, kind)
        if entry is None:
            entry = make()
            self.remember(name, entry)
        return entry

    def remember(self, name: str, entry: Entry[T] | None) -> None:
        """Keep the result of a recipe; an entry too large to keep is None."""
        if entry is None:
            return
        if not entry.arrays:
            self._small[name] = entry
        if self._store is not None:
            self._store.remember(recipe.store_key(name, self._environment), entry)


def folder_entry(folder: Path) -> Entry[list[str]] | None:
    """Return a folder's files as an entry, or None where they are too large."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    if sum(path.stat().st_size for path in paths) > LARGEST_FOLDER_BYTES:
        return None
    names = [path.relative_to(folder).as_posix() for path in paths]
    contents = [np.frombuffer(path.read_bytes(), np.uint8) for path in paths]
    return Entry(names, tuple(contents))


def write_folder(entry: Entry[list[str]], folder: Path) -> None:
    """Write the files of a remembered folder; raise ``Damaged``, and write nothing, if
    one would lie outside it."""
    for name in entry.record:
        inside(folder, name)
    for name, content in zip(entry.record, entry.arrays, strict=True):
        path = inside(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.tobytes())
