"""What a server knows when it draws the clients of a round.

A sampler's ``draw`` names what it asks for: its arguments are fields of ``Context``, or
``context`` for all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Seen:
    """What a client's last update in a merge showed.

    ``loss`` is the mean over its mini-batches, ``norm2`` the squared norm of the change
    that it made; None where nothing was learned.
    """

    round_id: int
    loss: float | None
    norm2: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What is known before a round; clients that no merge took are not in ``seen``.

    ``rng`` is the round's own stream, ``version`` the adapter that will be sent.
    ``device`` and ``cell`` return a client's device by name and its cell by id;
    ``record(name, row)`` writes a row of a table of the sampler's own.
    """

    round_id: int
    rng: np.random.Generator
    data_weights: npt.NDArray[np.float64]
    version: str
    device: Callable[[int], str]
    cell: Callable[[int], int]
    seen: Mapping[int, Seen]
    record: Callable[[str, NamedTuple], None] = lambda name, row: None


NAMES = ("context", *(one.name for one in fields(Context)))
