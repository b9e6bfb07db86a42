"""Random numbers that depend on a sample's index alone (a counter-based generator)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fl.streams import stream

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def uniform(seed: int, purpose: str, indices: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return one number in [0, 1) per index, independent of the other indices.

    SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
    generators", OOPSLA 2014) at counter ``key + index``.
    """
    key = stream(seed, "counted", purpose).integers(2**64, dtype=np.uint64)
    x = key + indices.astype(np.uint64) * _STEP  # wraps around on purpose
    x = (x ^ (x >> np.uint64(30))) * _FIRST
    x = (x ^ (x >> np.uint64(27))) * _SECOND
    x = x ^ (x >> np.uint64(31))
    found: NDArray[np.float64] = (x >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return found
