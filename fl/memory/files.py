"""Files worth keeping between runs: whole and intact, or treated as absent."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

DRAFT = ".draft-"
YOUNG_S = 3600.0  # a younger draft is being written


class Damaged(Exception):
    """A file whose checksum is not that of its name and content."""


def cache_folder() -> Path:
    """Return ``$XDG_CACHE_HOME/netsim``, by default ``~/.cache/netsim``."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "netsim"


def recall(name: str) -> bytes | None:
    """Return an entry's content, or None where it is absent or damaged."""
    try:
        return read_checked(cache_folder() / name)
    except (FileNotFoundError, Damaged):
        return None


def remember(name: str, payload: bytes) -> None:
    """Keep an entry; a reader or a second writer sees it whole or not at all. Drafts
    that killed writers have left go."""
    write_checked(cache_folder() / name, payload)
    clear_orphans(cache_folder())


def kept(name: str, make: Callable[[], bytes]) -> bytes:
    """Return an entry's content, which is made and kept where it is absent."""
    content = recall(name)
    if content is None:
        content = make()
        remember(name, content)
    return content


def read_checked(path: Path) -> bytes:
    """Return the payload of a file that ``write_checked`` wrote under this name."""
    checksum, _, payload = _own_bytes(path).partition(b"\n")
    if checksum != _checksum(path, payload):
        raise Damaged(path)
    return payload


def _own_bytes(path: Path) -> bytes:
    """Return the content of a file that this user, or root, has written; another user's
    is absent, so that a shared cache serves no other user's numbers."""
    try:  # a pipe opened without waiting is found to be one
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except PermissionError as error:
        raise FileNotFoundError(path) from error
    with open(handle, "rb") as file:
        status = os.fstat(file.fileno())
        is_own = sys.platform == "win32" or status.st_uid in (0, os.geteuid())
        if not (stat.S_ISREG(status.st_mode) and is_own):
            raise FileNotFoundError(path)
        return file.read()


def regular(path: Path) -> Path:
    """Return a path unless it is a pipe or a device, which may never end."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ValueError(f"{path} is not a regular file; pipes are not read")
    return path


def inside(folder: Path, name: str) -> Path:
    """Return the path of a name within a folder; refuse one that leads out of it."""
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or parts[0] == "/" or "\\" in name or ":" in name:
        raise Damaged(f"{name!r} does not lie within the folder")
    return folder / name


def write_checked(path: Path, payload: bytes) -> None:
    """Write a file with its checksum in the first line, whole or not at all."""
    try:
        _write_checked(path, payload)
    except OSError as error:
        what = f"cannot write to the cache, {error.strerror}"
        hint = "make room, or set XDG_CACHE_HOME to another folder"
        raise OSError(error.errno, f"{what}; {hint}", str(path.parent)) from error


def _write_checked(path: Path, payload: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(
        prefix=f"{DRAFT}{path.name[:32]}.", dir=path.parent
    )
    try:
        with open(handle, "wb") as file:
            _is_held(handle)  # from now on it is ours
            file.write(_checksum(path, payload) + b"\n" + payload)
        os.replace(draft, path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def is_draft(path: Path) -> bool:
    """Return whether a file is not yet an entry."""
    return path.name.startswith(DRAFT)


def clear_orphans(folder: Path) -> None:
    """Remove the drafts that killed writers have left in a folder."""
    for path in folder.glob(f"{DRAFT}*"):
        # another process was first, or it is the draft of another user
        with suppress(FileNotFoundError, PermissionError):
            if is_orphan(path):
                path.unlink()


def is_orphan(path: Path) -> bool:
    """Return whether a draft was left by a killed writer: it is old, and no process
    holds it. Process ids say nothing: hosts and containers share the folder."""
    if time.time() - path.stat().st_mtime < YOUNG_S:
        return False
    with open(path, "rb") as file:
        return not _is_held(file.fileno())


def _is_held(handle: int) -> bool | None:
    """Return whether another process holds an open file, and hold it if none does;
    None where the file system has no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False


def _checksum(path: Path, payload: bytes) -> bytes:
    """Return the checksum of a file: another entry's content is not its own."""
    found = hashlib.sha256(path.name.encode() + b"\n")
    found.update(payload)
    return found.hexdigest().encode()
