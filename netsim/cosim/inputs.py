"""The files and folders outside a run that its scenario names."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from fl.tasks.data_files import file_digest
from netsim.cosim.scenario import Scenario
from netsim.runs.manifest import Manifest


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
        for one in value.values():
            yield from _paths(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _paths(one)
    elif isinstance(value, str) and os.path.isabs(value) and os.path.exists(value):
        yield value


def _digest(path: Path) -> str:
    if path.is_file():
        return file_digest(path)
    below = sorted(one for one in path.rglob("*") if one.is_file())
    listing = "".join(f"{one.relative_to(path)} {file_digest(one)}\n" for one in below)
    return hashlib.sha256(listing.encode()).hexdigest()
