"""Splits of a user's files: their rows, their labels, their digest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from fl.memory import recipe
from fl.streams import stream
from fl.tasks.data_files import file_digest, local_file
from fl.tasks.tables import Column, Table, read_table
from fl.tasks.task import Split

CORPUS_SIZE = 5_000


def files_digest(
    kind: str, files: Mapping[Split, str | None], settings: Mapping[str, recipe.Json]
) -> str:
    """Return the digest of the files' content and of the settings, not of the paths."""
    content: dict[str, recipe.Json] = {
        split: None if place is None else file_digest(local_file(place))
        for split, place in files.items()
    }
    return recipe.digest(f"{kind} 1", {"files": content, "settings": settings})


def split_table(
    files: Mapping[Split, str | None],
    split: Split,
    columns: tuple[Column, ...],
    *,
    header: bool,
) -> Table | None:
    """Return the table of a split, or None if the scenario has no file for it."""
    place = files[split]
    return None if place is None else read_table(place, columns, header=header)


@cache
def chosen_rows(split: Split, num_rows: int, limit: int | None) -> NDArray[np.int64]:
    """Return the row of each sample of a split.

    ``train`` keeps the order of the file, so that partition files can refer to its
    rows; ``limit`` selects a fixed random subset. ``test`` has a fixed random order, so
    that its first samples are representative of a sorted file.
    """
    order = stream(0, "rows", split).permutation(num_rows)
    if split == "test":
        return order
    return np.sort(order[:limit]) if split == "train" else np.sort(order)


def spread(num_samples: int, most: int = CORPUS_SIZE) -> NDArray[np.int64]:
    """Return at most ``most`` sample indices, evenly spaced."""
    if num_samples <= most:
        return np.arange(num_samples)
    return np.arange(most) * num_samples // most


def label_names(values: Sequence[str]) -> tuple[str, ...]:
    """Return the distinct labels: integers by value, others alphabetically."""
    distinct = set(values)
    if all(name.removeprefix("-").isdecimal() for name in distinct):
        return tuple(sorted(distinct, key=lambda name: (int(name), name)))
    return tuple(sorted(distinct))
