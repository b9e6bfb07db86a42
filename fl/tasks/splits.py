"""Splits of a user's files: their rows and their digest."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fl.memory import recipe
from fl.record import Record
from fl.streams import stream
from fl.tasks.data_files import DataFile, file_digest, local_file
from fl.tasks.tables import Column, Table, read_table
from fl.tasks.task import Split

CORPUS_SIZE = 5_000


class FileTask(Record):
    """A task whose splits are a user's files; ``limit`` is of the training samples."""

    kind: str
    train: DataFile
    test: DataFile
    public: DataFile | None = None
    limit: int | None = Field(default=None, ge=1)

    @property
    def digest(self) -> str:
        """Return the digest of the files' content and of the reading settings."""
        content: dict[str, recipe.Json] = {
            split: None if place is None else file_digest(local_file(place))
            for split, place in self._files.items()
        }
        settings = self.model_dump(mode="json", exclude={"kind", *content})
        return recipe.digest(f"{self.kind} 1", {"files": content, "settings": settings})

    def _read(
        self, split: Split, columns: tuple[Column, ...], *, header: bool
    ) -> Table | None:
        """Return the table of a split, or None if the scenario has no file for it."""
        place = self._files[split]
        return None if place is None else read_table(place, columns, header=header)

    def _column(self, column: Column, *, header: bool) -> NDArray[np.str_]:
        table = read_table(self.train, (column,), header=header)
        return np.array(table.columns[0])[self._rows("train", table)]

    def _rows(self, split: Split, table: Table) -> NDArray[np.int64]:
        return chosen_rows(split, len(table.lines), self.limit)

    @property
    def _files(self) -> Mapping[Split, str | None]:
        return {"train": self.train, "test": self.test, "public": self.public}


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
