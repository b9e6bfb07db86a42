"""Atomic file writing, and the records of files in a manifest."""

from __future__ import annotations

import contextlib
import hashlib
import os
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Annotated, BinaryIO

from pydantic import AfterValidator, BaseModel, ConfigDict

from netsim.errors import InputError

DRAFT = ".tmp"
GZIP = b"\x1f\x8b"
HEAD_BYTES = 4096  # of a file: what says who wrote it


def _within(path: str) -> str:
    """Return the name of a file within a folder; refuse one that leads out of it."""
    parts = PurePosixPath(path).parts
    if not parts or ".." in parts or parts[0] == "/" or "\\" in path:
        raise ValueError(f"must lie within the folder, got {path!r}")
    return path


PathWithin = Annotated[str, AfterValidator(_within)]


class StoredFile(BaseModel):
    """A file of a run; ``path`` is relative to the run's folder, with slashes."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    path: PathWithin
    num_bytes: int
    sha256: str


class Part(BaseModel):
    """One Parquet file of a table, as listed in the manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    table: str
    path: PathWithin
    num_rows: int
    num_bytes: int
    sha256: str


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Write a file completely, or leave it unchanged."""
    with whole_file(path) as file:
        file.write(content)


def write_together(contents: Mapping[Path, memoryview], folder: Path) -> None:
    """Write each file as :func:`write_atomically` does, and the names in a folder above
    them: asked for all at once, a disk writes them together."""
    with ThreadPoolExecutor(len(contents) + 1) as pool:
        names = pool.submit(sync, folder)
        deque(pool.map(write_atomically, contents, contents.values()), maxlen=0)
        names.result()


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that appears only if the block succeeds: a hidden
    temporary file, fsync, rename."""
    temporary = path.with_name(f".{path.name}{DRAFT}")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        what = f"cannot write, {error.strerror}"
        raise OSError(error.errno, what, str(path)) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def make_durable(folder: Path) -> None:
    """Bring all files below a folder, and their names, to the disk."""
    for path in sorted(folder.rglob("*"), reverse=True):
        sync(path)
    if folder.is_dir():
        sync(folder)
        sync(folder.parent)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it; the names of new ones are on the disk."""
    new = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for one in reversed(new):
        with contextlib.suppress(PermissionError):  # a folder that one may not list
            sync(one.parent)


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    if os.name == "nt" and path.is_dir():  # Windows opens no folders
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def require_own(path: Path, mark: bytes, *, option: str = "--out") -> None:
    """Refuse to replace a file whose first bytes, unpacked, lack this mark: netsim did
    not write it. An empty file holds nothing to lose."""
    if path.is_dir():
        raise InputError(f"{option}: must be a file, got the folder {path}")
    if not path.exists():
        return
    head = b""
    if path.is_file():
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
        if not head:
            return
    if head.startswith(GZIP):
        with contextlib.suppress(zlib.error):
            head = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, HEAD_BYTES)
    if mark not in head:
        raise InputError(
            f"{option} {path} exists and is not what this command writes; choose "
            "another, or delete it"
        )


def is_draft(path: Path) -> bool:
    """Return whether a file is the unfinished draft of a killed writer."""
    return path.name.startswith(".") and path.suffix == DRAFT


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def damage(run_folder: Path, stored: Part | StoredFile) -> str:
    """Return what is wrong with a file of a manifest; empty if it is intact."""
    path = run_folder / stored.path
    if not path.is_file():
        return f"{path} is missing: the manifest lists it"
    if file_sha256(path) != stored.sha256:
        return f"{path} is damaged: it has another SHA-256 than the manifest lists"
    return ""


def stored_file(run_folder: Path, path: str) -> StoredFile:
    """Return the record of a file; ``path`` is relative to the run's folder."""
    full = run_folder / path
    return StoredFile(
        path=path, num_bytes=full.stat().st_size, sha256=file_sha256(full)
    )
