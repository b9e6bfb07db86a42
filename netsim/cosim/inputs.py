"""What made a run besides its scenario: files outside that this names, and code."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from fl.memory.code import code_of, edited_since_loaded, own_files
from fl.tasks.data_files import file_digest
from netsim.core.files import file_sha256, write_atomically
from netsim.cosim.scenario import Scenario
from netsim.errors import InputError
from netsim.runs.manifest import CODE_FOLDER, Manifest, edited, has_known_code

NO_PATHS = frozenset({"kind", "name", "prompt_format"})  # texts that may look like one
MAX_FILES = 20_000  # of a folder that a run reads
MAX_NAMED = 3  # modules in a message


def inputs(scenario: Scenario) -> dict[str, str]:
    """Return the SHA-256 of every file and folder that a scenario names, by absolute
    path, and of the code that runs it, by its path from where Python finds it."""
    named = sorted(set(_paths(scenario.model_dump())))
    return {path: _digest(Path(path)) for path in named} | code(scenario)


def code(scenario: Scenario) -> dict[str, str]:
    """Return the digest of each module's code that a run of a scenario depends on."""
    return code_of(["netsim.cosim.run"], [scenario])


def keep_code(scenario: Scenario, folder: Path) -> None:
    """Copy a user's own modules that a scenario names into the folder of a run; refuse
    those that were edited since this process loaded them."""
    if found := edited_since_loaded([scenario]):
        raise InputError(
            f"{in_short(found)} no longer what this process loaded; start again (in a "
            "notebook, restart the kernel)"
        )
    for path, file in own_files([scenario]).items():
        place = folder / CODE_FOLDER / path
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(place, file.read_bytes())


def changed(recorded: Manifest) -> list[str]:
    """Return the inputs of a recorded run that have changed."""
    return [
        path
        for path, digest in recorded.inputs.items()
        if os.path.isabs(path)
        if not os.path.exists(path) or _digest(Path(path)) != digest
    ]


def require_same_code(
    recorded: Manifest, scenario: Scenario, place: Path, remedy: str = ""
) -> None:
    """Refuse to go on with a run that other code made; a ``remedy`` is named."""
    if found := edited_since(recorded, scenario):
        raise InputError(
            f"{place} holds a run that other code made: {in_short(found)} no longer "
            f"what it was then; choose another folder{remedy}"
        )


def edited_since(recorded: Manifest, scenario: Scenario) -> list[str]:
    """Return the modules that are not those that made a run; of a run of unknown code,
    the user's files that are not."""
    if not has_known_code(recorded):
        files, before = own_files([scenario]), recorded.inputs
        return [path for path, f in files.items() if before.get(path) != file_sha256(f)]
    return edited(recorded.inputs, code(scenario))


def in_short(paths: list[str]) -> str:
    """Return a few paths as the subject of a sentence, with its verb."""
    more = len(paths) - MAX_NAMED
    rest = f" and {more} more are" if more > 0 else ""
    return f"{', '.join(paths[:MAX_NAMED])}{rest or ' is'}"


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
    found = (one for one in path.rglob("*") if one.is_file() and not _is_compiled(one))
    below = sorted(islice(found, MAX_FILES + 1))
    if len(below) > MAX_FILES:
        raise InputError(
            f"{path} holds more than {MAX_FILES:,} files: a scenario names the folder "
            "of a model or of data, no other"
        )
    listing = "".join(f"{one.relative_to(path)} {file_digest(one)}\n" for one in below)
    return hashlib.sha256(listing.encode()).hexdigest()


def _is_compiled(path: Path) -> bool:
    return path.parent.name == "__pycache__"
