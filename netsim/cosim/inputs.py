"""The files and folders outside a run that its scenario names."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from netsim.cosim.scenario import Scenario
from netsim.errors import InputError
from netsim.runs.manifest import Manifest

NO_PATHS = frozenset({"kind", "name", "prompt_format"})  # texts that may look like one
MAX_FILES = 20_000  # of a folder that a run reads
WHOLE_BYTES = 64 * 2**20  # of larger files, model weights, the two ends and the size


def inputs(scenario: Scenario) -> dict[str, str]:
    """Return the SHA-256 of every file and folder that a scenario names, by path."""
    named = sorted(set(_paths(scenario.model_dump())))
    return {path: _digest(Path(path)) for path in named}


def changed(recorded: Manifest) -> list[str]:
    """Return the inputs of a recorded run that have changed."""
    return [
        path
        for path, digest in recorded.inputs.items()
        if not os.path.exists(path) or _digest(Path(path)) != digest
    ]


def _paths(value: object) -> Iterator[str]:
    """Yield the absolute paths that a resolved scenario holds."""
    if isinstance(value, dict):
        for key, one in value.items():
            if key not in NO_PATHS:
                yield from _paths(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _paths(one)
    elif isinstance(value, str) and os.path.isabs(value) and os.path.exists(value):
        yield value


def _digest(path: Path) -> str:
    if path.is_file():
        return _file_digest(path)
    found = (one for one in path.rglob("*") if one.is_file())
    below = sorted(islice(found, MAX_FILES + 1))
    if len(below) > MAX_FILES:
        raise InputError(
            f"{path} holds more than {MAX_FILES:,} files: a scenario names the folder "
            "of a model or of data, no other"
        )
    listing = "".join(f"{one.relative_to(path)} {_file_digest(one)}\n" for one in below)
    return hashlib.sha256(listing.encode()).hexdigest()


def _file_digest(path: Path) -> str:
    """Return the SHA-256 of a file: all of it, or its size and both ends."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        if size <= WHOLE_BYTES:
            return hashlib.file_digest(file, "sha256").hexdigest()
        found = hashlib.sha256(str(size).encode())
        found.update(file.read(WHOLE_BYTES // 2))
        file.seek(-WHOLE_BYTES // 2, os.SEEK_END)
        found.update(file.read())
    return found.hexdigest()
