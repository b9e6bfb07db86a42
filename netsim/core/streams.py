"""Independent random streams, each named by purpose and ids."""

from __future__ import annotations

import hashlib
import zlib

import numpy as np


def stream(seed: int, *path: str | int) -> np.random.Generator:
    """Return the generator of one path: ``stream(seed, "sampling", round_id)``."""
    key = tuple(zlib.crc32(str(part).encode()) for part in path)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def uniform(seed: int, *path: str | int) -> float:
    """Return one draw in (0, 1) that depends only on seed and path; for single draws
    it is about ten times faster than ``stream``."""
    return uniform_named("/".join(map(str, (seed, *path))))


def uniform_named(name: str) -> float:
    """Return the draw of :func:`uniform` whose seed and path, joined by slashes, are
    ``name``; an f-string makes that faster where draws are many."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return ((int.from_bytes(digest, "little") >> 12) + 0.5) * 2.0**-52
