"""Files worth keeping between runs: whole and intact, or treated as absent."""

from __future__ import annotations

import hashlib
import os
import platform
import tempfile
from pathlib import Path

DRAFT = ".draft-"


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
    """Keep an entry; a reader or a second writer sees it whole or not at all."""
    write_checked(cache_folder() / name, payload)


def read_checked(path: Path) -> bytes:
    """Return the payload of a file that ``write_checked`` wrote under this name."""
    checksum, _, payload = path.read_bytes().partition(b"\n")
    if checksum != _checksum(path, payload):
        raise Damaged(path)
    return payload


def write_checked(path: Path, payload: bytes) -> None:
    """Write a file with its checksum in the first line, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    owner = f".{platform.node()}.{os.getpid()}."
    prefix = f"{DRAFT}{path.name[:32]}{owner}"
    handle, draft = tempfile.mkstemp(prefix=prefix, dir=path.parent)
    try:
        with open(handle, "wb") as file:
            file.write(_checksum(path, payload) + b"\n" + payload)
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise


def is_orphan(path: Path) -> bool:
    """Return whether a file is a draft whose writer, of this computer, was killed."""
    if not path.name.startswith(DRAFT):
        return False
    head, _, _ = path.name.rpartition(".")
    node, _, pid = head.rpartition(".")
    if not node.endswith(f".{platform.node()}") or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:  # it lives, and is somebody else's
        return False
    return False


def _checksum(path: Path, payload: bytes) -> bytes:
    """Return the checksum of a file: another entry's content is not its own."""
    found = hashlib.sha256(path.name.encode() + b"\n")
    found.update(payload)
    return found.hexdigest().encode()
