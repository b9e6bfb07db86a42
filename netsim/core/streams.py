"""Random streams named by purpose and ids, so that one draw never moves another."""

from __future__ import annotations

import hashlib
import zlib

import numpy as np


def stream(seed: int, *path: str | int) -> np.random.Generator:
    """Return the generator of one purpose: ``stream(seed, "sampling", round_id)``."""
    key = tuple(zlib.crc32(str(part).encode()) for part in path)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def uniform(seed: int, *path: str | int) -> float:
    """Return one draw in (0, 1) with random access, about ten times the speed of a
    stream: for a value that belongs to a (client, block) pair and is drawn alone."""
    name = "/".join(map(str, (seed, *path)))
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return ((int.from_bytes(digest, "little") >> 12) + 0.5) * 2.0**-52
