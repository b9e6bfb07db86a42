"""Labelled texts from a user's files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from fl.tasks.data_files import did_you_mean
from fl.tasks.splits import FileTask, spread
from fl.tasks.tables import Column, Table
from fl.tasks.task import Objective, Split, Task
from fl.tasks.tokenized import TokenizedTexts
from fl.tasks.tokens import Tokenizer

ColumnChoice = str | Annotated[int, Field(ge=0)]


class Text(FileTask):
    """Labelled texts from CSV, TSV, JSON lines, Parquet or a file of the hub.

    The labels are the sorted labels of ``train``. Texts are cut to ``max_length``
    tokens. A column is given by name or by position from 0. ``limit`` selects a fixed
    random subset of ``train``.
    """

    kind: Literal["text"] = "text"
    objective: ClassVar[Objective] = "text-classification"
    text_column: ColumnChoice = "text"
    label_column: ColumnChoice = "label"
    header: bool = True
    max_length: int = Field(default=128, ge=4)
    limit: int | None = Field(default=None, ge=2)

    @model_validator(mode="after")
    def _check_columns(self) -> Text:
        for key in ("text_column", "label_column"):
            column = getattr(self, key)
            if isinstance(column, int) and "header" not in self.model_fields_set:
                raise ValueError(
                    f"{key} is the number {column}, so `header` must be given: false "
                    "where the first line is data, true where it is to be skipped"
                )
            if not self.header and isinstance(column, str):
                raise ValueError(
                    f"{key} must be a number where header is false, got {column!r}"
                )
        return self

    @property
    def num_labels(self) -> int:
        """Return the number of distinct labels of the training file."""
        return len(self._names())

    def labels(self, split: Split) -> NDArray[np.int64]:
        """Return each sample's index into the sorted labels."""
        table = self._table(split)
        if table is None:
            return np.zeros(0, dtype=np.int64)
        return _label_ids(table, self._names())[self._rows(split, table)]

    def column(self, name: str) -> NDArray[np.str_]:
        """Return a column of the training file."""
        column: Column = int(name) if not self.header and name.isdecimal() else name
        return self._column(column, header=self.header)

    def texts(self, split: Split, indices: Sequence[int]) -> list[str]:
        """Return the texts at these indices."""
        table = self._table(split)
        assert table is not None
        rows = self._rows(split, table)
        return [table.columns[0][row] for row in rows[list(indices)].tolist()]

    def corpus(self) -> list[str]:
        """Return up to 5,000 training texts, evenly spread."""
        samples = spread(len(self.labels("train")))
        return self.texts("train", samples.tolist())

    def read_by(self, tokenizer: Tokenizer | None) -> Task:
        """Return the tokenized task."""
        assert tokenizer is not None
        return TokenizedTexts(self, tokenizer)

    def _table(self, split: Split) -> Table | None:
        columns = (self.text_column, self.label_column)
        return self._read(split, columns, header=self.header)

    def _names(self) -> tuple[str, ...]:
        table = self._table("train")
        assert table is not None
        names = _distinct(table)
        if len(names) < 2:
            raise ValueError(
                f"{table.name}: column {self.label_column!r} must hold at least two "
                f"labels, got only {names[0]!r}"
            )
        return names


@lru_cache(maxsize=16)
def _distinct(table: Table) -> tuple[str, ...]:
    """Return the labels: integers by value, others alphabetically."""
    distinct = set(table.columns[1])
    if all(name.removeprefix("-").isdecimal() for name in distinct):
        return tuple(sorted(distinct, key=lambda name: (int(name), name)))
    return tuple(sorted(distinct))


@lru_cache(maxsize=16)
def _label_ids(table: Table, names: tuple[str, ...]) -> NDArray[np.int64]:
    """Return each row's label id; a label that ``train`` lacks is an error."""
    ids = {name: label_id for label_id, name in enumerate(names)}
    for row, name in enumerate(table.columns[1]):
        if name not in ids:
            raise ValueError(
                f"{table.at(row)}: label {name!r} does not occur in the training file"
                f"{did_you_mean(name, names)} ({len(names)} labels: "
                f"{', '.join(names[:5])}{', …' if len(names) > 5 else ''})"
            )
    return np.array([ids[name] for name in table.columns[1]], dtype=np.int64)
