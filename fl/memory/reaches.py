"""What modules of this project depend on, kept between processes.

To follow imports takes longer than to read all files, so that what was found is kept
under the digest of all of them: an edit of one starts anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TypeAlias

from fl.memory.files import Damaged, cache_folder, read_checked, write_checked

MOST_KEPT = 4  # states of the project
VERSION = f"1-{sys.version_info.major}.{sys.version_info.minor}"  # of the parser

Listing: TypeAlias = dict[str, str]  # the digest of each module's code, by its path
Packages: TypeAlias = tuple[str, ...]  # their folders
State: TypeAlias = tuple[Listing, dict[str, list[str]]]  # and what each module reaches


class Reaches:
    """The listings of one state of the project."""

    def __init__(self, folder: Path, packages: Packages, state: str) -> None:
        self._path = folder / f"reaches-{VERSION}.json"
        self._packages = packages
        self._state = state
        self._kept = self._read()
        self._code, self._reached = self._kept.pop(self._state, ({}, {}))
        self._is_changed = False

    def of(self, module: str, find: Callable[[], Mapping[str, str]]) -> Listing:
        """Return the listing of all that a module depends on, found where unknown."""
        if module not in self._reached:
            found = find()
            self._code.update(found)
            self._reached[module] = [*found]
            self._is_changed = True
        return {path: self._code[path] for path in self._reached[module]}

    def keep(self) -> None:
        """Write what was found since the last time, unless a file was edited since."""
        if self._is_changed and state_of(self._packages) == self._state:
            last = [*self._kept.items()][1 - MOST_KEPT :]
            kept = dict(last) | {self._state: (self._code, self._reached)}
            write_checked(self._path, json.dumps(kept).encode())
        self._is_changed = False

    def _read(self) -> dict[str, State]:
        try:
            kept: dict[str, State] = json.loads(read_checked(self._path))
        except (FileNotFoundError, Damaged):
            return {}
        return kept


def state_of(packages: Packages) -> str:
    """Return the SHA-256 of the names and contents of all modules of packages."""
    found = hashlib.sha256()
    for package in packages:
        for file in sorted(_modules(package)):
            with open(file, "rb", buffering=0) as content:
                digest = hashlib.sha256(content.read()).hexdigest()
            found.update(f"{file.removeprefix(package)} {digest}\n".encode())
    return found.hexdigest()


def _modules(package: str) -> Iterator[str]:
    for folder, _, names in os.walk(package):
        yield from (f"{folder}/{name}" for name in names if name.endswith(".py"))


first_state_of = cache(state_of)  # when first asked for: of the code that runs


@cache
def kept_reaches(folder: Path, packages: Packages) -> Reaches:
    """Return what is known of packages in a cache folder, read once."""
    return Reaches(folder, packages, first_state_of(packages))


def reaches(packages: Packages) -> Reaches:
    """Return what is known of packages in this user's cache."""
    return kept_reaches(cache_folder(), packages)
