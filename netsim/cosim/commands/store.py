"""The store of finished learning, as a person sees it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fl.memory.store import DEFAULT_LIMIT_BYTES, Store


@dataclass(frozen=True, slots=True)
class StoreSize:
    """Where the store is, how much it holds, and where it is cut by itself."""

    folder: Path
    num_entries: int
    num_bytes: int
    limit_bytes: int = DEFAULT_LIMIT_BYTES


def store_size() -> StoreSize:
    """Return the present size of the store."""
    store = Store()
    sizes = [status.st_size for _, status in store.files()]
    return StoreSize(store.folder, len(sizes), sum(sizes))


def prune_store(limit_bytes: int) -> None:
    """Drop what was used longest ago until the rest fits."""
    Store().prune(limit_bytes)
