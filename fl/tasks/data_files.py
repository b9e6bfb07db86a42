"""Data files: relative to the scenario, on this machine, or on the Hugging Face hub."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import time
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, ValidationInfo

from fl.memory.files import recall, regular, remember

HUB = "hf://datasets/"
_HUB_FILE = re.compile(rf"{HUB}([\w.-]+/[\w.-]+?)(?:@([^/]+))?/(.+)")
LARGE_BYTES = 1 << 24  # the digest of a larger file is cached
YOUNG_NS = 2 * 10**9  # more than any file system's tick


def _absolute_or_hub(value: str, info: ValidationInfo) -> str:
    """Return an absolute path, relative to the scenario's folder, which must exist."""
    if value.startswith("hf://"):
        _hub_parts(value)
        return value
    folder = scenario_folder(info)
    path = absolute(value, folder or Path())
    if folder is not None:  # the scenario's reader can name the line now
        require_file(path)
    return str(path)


def path_text(value: object) -> object:
    """Return a path as text; anything else as it is."""
    return str(value) if isinstance(value, Path) else value


# A local path or ``hf://datasets/owner/name@revision/file``.
DataFile = Annotated[str, BeforeValidator(path_text), AfterValidator(_absolute_or_hub)]


def scenario_folder(info: ValidationInfo) -> Path | None:
    """Return the folder of the scenario that is being read, if any."""
    context = info.context
    folder = context.get("folder") if isinstance(context, dict) else None
    return folder if isinstance(folder, Path) else None


def absolute(path: str, folder: Path) -> Path:
    """Return the absolute path of ``path`` relative to ``folder``; links are kept."""
    return Path(os.path.abspath(folder / Path(path).expanduser()))


def require_file(path: Path) -> None:
    """Raise ``ValueError`` with the closest file name if the path is not a file."""
    if path.is_file():
        return
    if path.is_dir():
        raise ValueError(f"must be a file, got the folder '{path}'")
    if not path.parent.is_dir():
        raise ValueError(f"no such file and no such folder, got '{path}'")
    names = sorted(p.name for p in path.parent.iterdir() if p.is_file())
    raise ValueError(f"no such file, got '{path}'{did_you_mean(path.name, names)}")


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return a hint with the closest choice, or an empty text."""
    found = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.5)
    return f"; did you mean {found[0]!r}?" if found else ""


def local_file(source: str) -> Path:
    """Return the file on this machine, after a download if it is on the hub."""
    if source.startswith("hf://"):
        return _downloaded(source)
    path = Path(source)
    require_file(path)
    return path


def _hub_parts(source: str) -> tuple[str, str | None, str]:
    match = _HUB_FILE.fullmatch(source)
    if match is None:
        raise ValueError(
            f"a hub file is written {HUB}OWNER/NAME@REVISION/FILE, got {source!r}"
        )
    return match[1], match[2], match[3]


@lru_cache(maxsize=32)
def _downloaded(source: str) -> Path:
    from huggingface_hub import hf_hub_download

    repository, revision, name = _hub_parts(source)
    revision = "refs/convert/parquet" if revision == "~parquet" else revision
    try:
        found = hf_hub_download(
            repository, name, revision=revision, repo_type="dataset"
        )
    except (OSError, ValueError) as error:
        raise ValueError(unreachable(source, error)) from error
    return Path(found)


def unreachable(what: str, error: Exception) -> str:
    """Return a one-line message: a hub resource is neither cached nor reachable."""
    from huggingface_hub import constants

    first = str(error).strip().splitlines()
    why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else first[0][:200]
    return (
        f"{what} is not in the cache {constants.HF_HUB_CACHE} and cannot be fetched "
        f"({why}); fetch it where the hub can be reached, or name a local path"
    )


def file_state(path: Path) -> tuple[int, ...]:
    """Return numbers that change whenever a file's content does; a program can set a
    file's time of modification, but not that of its change."""
    status = regular(path).stat()
    changed_ns = status.st_ctime_ns
    if time.time_ns() - changed_ns < YOUNG_NS:  # it may change again at the same tick
        changed_ns = time.time_ns()
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        changed_ns,
    )


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content, which is read again if it may have
    changed."""
    return _file_digest(str(path.resolve()), file_state(path))


@lru_cache(maxsize=256)
def _file_digest(path: str, state: tuple[int, ...]) -> str:
    _, _, size, *_ = state
    name = f"{hashlib.sha256(f'{path} {state}'.encode()).hexdigest()}.sha256"
    known = recall(name) if size >= LARGE_BYTES else None
    if known is not None:
        return known.decode()
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if size >= LARGE_BYTES:
        remember(name, digest.encode())
    return digest
