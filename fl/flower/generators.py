"""The global generators of random numbers, from which apps draw."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from fl.streams import stream


@contextmanager
def seeded(seed: int, *path: str | int) -> Iterator[None]:
    """Seed the global generators for one purpose, and restore them afterwards; torch's
    where it is loaded."""
    word = int(stream(seed, "flower", *path).integers(2**32))
    python, numbers = random.getstate(), np.random.get_state()  # noqa: NPY002
    torch: Any = sys.modules.get("torch")
    tensors = None if torch is None else torch.get_rng_state()
    random.seed(word)
    np.random.seed(word)  # noqa: NPY002
    if torch is not None:
        torch.manual_seed(word)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numbers)  # noqa: NPY002
        if torch is not None:
            torch.set_rng_state(tensors)
