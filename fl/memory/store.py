"""Finished learning, remembered under the digest of everything that went into it.

One file per entry, whole and checked or absent. Every entry can be computed again, so
the store may be pruned or deleted at any time, also under a live run: a run holds in
memory what it still needs.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from fl.memory.files import (
    Damaged,
    cache_folder,
    is_draft,
    is_orphan,
    read_checked,
    write_checked,
)

DEFAULT_LIMIT_BYTES = 4_000_000_000
T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """A record of plain values, and arrays of numbers."""

    record: T
    arrays: tuple[NDArray[np.generic], ...] = ()

    def pack(self) -> bytes:
        """Return the entry as bytes: a line of JSON, then the arrays' bytes."""
        shapes = [[array.dtype.str, *array.shape] for array in self.arrays]
        head = json.dumps({"record": self.record, "arrays": shapes}, default=asdict)
        numbers = b"".join(array.tobytes() for array in self.arrays)
        return b"\n".join([head.encode(), numbers])


def unpacked(payload: bytes, kind: type[T]) -> Entry[T]:
    """Return the entry of some bytes; raises ``Damaged`` where it is another."""
    head, _, body = payload.partition(b"\n")
    arrays, start = [], 0
    try:
        described = json.loads(head)
        for dtype, *shape in described["arrays"]:
            count = int(np.prod(shape))
            array = np.frombuffer(body, np.dtype(dtype), count, start).reshape(shape)
            arrays.append(array)
            start += array.nbytes
        record: T = _reader(cast("Any", kind)).validate_python(described["record"])
    except (KeyError, TypeError, ValueError) as error:
        raise Damaged(str(error)) from error
    return Entry(record, tuple(arrays))


@cache
def _reader(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def default_folder() -> Path:
    """Return the folder that all runs of a user share."""
    return cache_folder() / "store"


class Store:
    """A bounded folder of entries; the one used longest ago leaves first."""

    def __init__(
        self, folder: Path | None = None, limit_bytes: int = DEFAULT_LIMIT_BYTES
    ) -> None:
        self.folder = default_folder() if folder is None else folder
        self._limit_bytes = limit_bytes
        self._written_bytes = 0  # since the folder's size was last looked at
        self._slack_bytes = 0

    def recall(self, key: str, kind: type[T]) -> Entry[T] | None:
        """Return an entry whose record is of this kind, or None where it is absent or
        damaged."""
        path = self._path(key)
        try:
            payload = read_checked(path)
            with contextlib.suppress(PermissionError):  # root's
                os.utime(path)
            return unpacked(payload, kind)
        except FileNotFoundError:
            return None
        except Damaged:
            _log.warning("%s is damaged; it is dropped and computed again", path)
            _drop(path)
            return None

    def remember(self, key: str, entry: Entry[T]) -> None:
        """Keep an entry, and let the oldest go where the folder grows too large."""
        payload = entry.pack()
        write_checked(self._path(key), payload)
        self._written_bytes += len(payload)
        if self._written_bytes > self._slack_bytes:
            free_bytes = self._limit_bytes - self.prune(self._limit_bytes)
            self._written_bytes, self._slack_bytes = 0, free_bytes

    def files(self) -> Sequence[tuple[Path, os.stat_result]]:
        """Return the entries' files, the one used longest ago first."""
        found = list(self._scan())
        found.sort(key=lambda pair: (pair[1].st_mtime_ns, pair[0].name))
        return found

    def prune(self, limit_bytes: int) -> int:
        """Drop the entries used longest ago until the rest fits; return its bytes."""
        found = self.files()
        total_bytes = sum(status.st_size for _, status in found)
        for path, status in found:
            if total_bytes <= limit_bytes:
                break
            total_bytes -= status.st_size if _drop(path) else 0
        return total_bytes

    def _scan(self) -> Iterator[tuple[Path, os.stat_result]]:
        for path in self.folder.glob("??/*"):
            # another run has pruned it, or it is the draft of another user
            with contextlib.suppress(FileNotFoundError, PermissionError):
                if not is_draft(path):
                    yield path, path.stat()
                elif is_orphan(path):
                    path.unlink()

    def _path(self, key: str) -> Path:
        assert key.isalnum(), f"a key is hexadecimal, got {key!r}"
        return self.folder / key[:2] / key[2:]


def _drop(path: Path) -> bool:
    """Delete an entry, and return whether it is gone; another user's may stay."""
    try:
        path.unlink(missing_ok=True)
    except PermissionError:
        return False
    return True
