"""Random streams named by purpose and ids, for numpy and for torch.

``stream`` repeats four lines of ``netsim.core.streams``, since ``fl`` must not import
``netsim``: one seed and one path give the same stream in both packages.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

NUM_THREADS = 1  # of torch: more depend on the machine and on who else runs


def stream(seed: int, *path: str | int) -> np.random.Generator:
    """Return the generator of one purpose: ``stream(seed, "partition")``."""
    key = tuple(zlib.crc32(str(part).encode()) for part in path)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def torch_stream(seed: int, *path: str | int) -> torch.Generator:
    """Return the CPU torch generator of one purpose."""
    import torch

    return torch.Generator().manual_seed(_torch_seed(seed, *path))


@contextmanager
def forked(seed: int, *path: str | int) -> Iterator[None]:
    """Seed torch's global generators for one purpose, and restore them afterwards.

    Initialisers and dropout can only draw from torch's global generators. This makes
    their numbers independent of earlier draws.
    """
    import torch

    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(_torch_seed(seed, *path))
        yield


@contextmanager
def torch_threads(number: int) -> Iterator[None]:
    """Use this number of torch threads, and restore the old one afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _torch_seed(seed: int, *path: str | int) -> int:
    return int(stream(seed, *path, "torch").integers(2**63))
