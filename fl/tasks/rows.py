"""Which rows of a user's files make up the splits, and what identifies them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from fl.memory import recipe
from fl.streams import stream
from fl.tasks.places import file_digest, local_file
from fl.tasks.tables import Column, Table, read_table
from fl.tasks.task import Split

CORPUS_SIZE = 5_000


def files_digest(
    kind: str, files: Mapping[Split, str | None], settings: Mapping[str, recipe.Json]
) -> str:
    """Return the digest of the files' content and of how it is read; paths are free."""
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
    """Return the rows of a split; none where the scenario names no such file."""
    place = files[split]
    return None if place is None else read_table(place, columns, header=header)


@cache
def chosen_rows(split: Split, num_rows: int, limit: int | None) -> NDArray[np.int64]:
    """Return the rows of a split in the order of its samples.

    ``train`` keeps the file's order, so that a partition file can number its rows; a
    limit takes a fixed random part of it. ``test`` is shuffled once and for all, so
    that its first samples stand for the rest however the file is sorted.
    """
    order = stream(0, "rows", split).permutation(num_rows)
    if split == "test":
        return order
    return np.sort(order[:limit]) if split == "train" else np.sort(order)


def spread(num_samples: int, most: int = CORPUS_SIZE) -> NDArray[np.int64]:
    """Return at most ``most`` sample indices, evenly spread."""
    if num_samples <= most:
        return np.arange(num_samples)
    return np.arange(most) * num_samples // most


def label_names(values: Sequence[str]) -> tuple[str, ...]:
    """Return the distinct labels, whole numbers by size and anything else by name."""
    distinct = set(values)
    if all(name.removeprefix("-").isdecimal() for name in distinct):
        return tuple(sorted(distinct, key=lambda name: (int(name), name)))
    return tuple(sorted(distinct))
