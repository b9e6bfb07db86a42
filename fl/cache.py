"""Files worth keeping between runs: whole and intact, or treated as absent."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """Return ``$XDG_CACHE_HOME/netsim``, by default ``~/.cache/netsim``."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "netsim"


def recall(name: str) -> bytes | None:
    """Return an entry's content, or None where it is absent or damaged."""
    try:
        content = (cache_folder() / name).read_bytes()
    except FileNotFoundError:
        return None
    checksum, _, payload = content.partition(b"\n")
    return payload if checksum == _checksum(payload) else None


def remember(name: str, payload: bytes) -> None:
    """Keep an entry; a reader or a second writer sees it whole or not at all."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(prefix=f".{name}.", dir=folder)
    try:
        with open(handle, "wb") as file:
            file.write(_checksum(payload) + b"\n" + payload)
        os.replace(draft, folder / name)
    except BaseException:
        os.unlink(draft)
        raise


def _checksum(payload: bytes) -> bytes:
    return hashlib.sha256(payload).hexdigest().encode()
