"""The files and folders outside a run that its scenario names, and a user's code."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from fl.memory.user_code import sources
from fl.tasks.data_files import file_digest
from netsim.cosim.scenario import Scenario
from netsim.errors import InputError
from netsim.runs.manifest import Manifest

NO_PATHS = frozenset({"kind", "name", "prompt_format"})  # texts that may look like one
MAX_FILES = 20_000  # of a folder that a run reads


def inputs(scenario: Scenario) -> dict[str, str]:
    """Return the SHA-256 of every file and folder that a scenario names, by absolute
    path, and of the sources of a user's own classes, by path from their folder."""
    named = sorted(set(_paths(scenario.model_dump())))
    return {path: _digest(Path(path)) for path in named} | sources([scenario])


def changed(recorded: Manifest) -> list[str]:
    """Return the inputs of a recorded run that have changed."""
    return [
        path
        for path, digest in recorded.inputs.items()
        if os.path.isabs(path)
        if not os.path.exists(path) or _digest(Path(path)) != digest
    ]


def require_same_code(recorded: Manifest, scenario: Scenario, place: Path) -> None:
    """Refuse to go on with a run that another state of a user's code made."""
    if edited := edited_since(recorded, scenario):
        raise InputError(
            f"{place} holds a run that other code made: {', '.join(edited)} is no "
            "longer what it was then; choose another folder"
        )


def edited_since(recorded: Manifest, scenario: Scenario) -> list[str]:
    """Return the files of a user's code that are not those that made a run."""
    return edited_code(recorded, sources([scenario]))


def edited_code(recorded: Manifest, inputs: Mapping[str, str]) -> list[str]:
    """Return the files of a user's code that differ between a run and other inputs."""
    before, now = (
        {path: digest for path, digest in found.items() if not os.path.isabs(path)}
        for found in (recorded.inputs, inputs)
    )
    return sorted(p for p in before | now if before.get(p) != now.get(p))


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
        return file_digest(path)
    found = (one for one in path.rglob("*") if one.is_file())
    below = sorted(islice(found, MAX_FILES + 1))
    if len(below) > MAX_FILES:
        raise InputError(
            f"{path} holds more than {MAX_FILES:,} files: a scenario names the folder "
            "of a model or of data, no other"
        )
    listing = "".join(f"{one.relative_to(path)} {file_digest(one)}\n" for one in below)
    return hashlib.sha256(listing.encode()).hexdigest()
