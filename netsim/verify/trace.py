"""The rows of a complete trace, which the checks compare with each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from netsim.runs.run import read_table
from netsim.trace.schemas import SCHEMAS
from netsim.trace.tables import TABLES, Rows
from netsim.trace.writer import batch_of


class Interval(Protocol):
    """A row with a beginning."""

    @property
    def start_ns(self) -> int: ...


Row = TypeVar("Row", bound=Interval)
Key = TypeVar("Key", bound=Any)
Value = TypeVar("Value")


WHOLE = ("clients", "plans")  # as long as the population: read as columns only
NONE = -1  # stands for null among integers; no id, rank or time is negative

Columns = dict[str, npt.NDArray[Any]]


class Trace(Rows):
    """All tables of a run, and when it ends."""

    def __init__(self, sim_time_ns: int, **tables: list[Any]) -> None:
        super().__init__(**tables)
        self.sim_time_ns = sim_time_ns
        self._whole: dict[str, Columns] = {}
        self._made: dict[str, object] = {}

    @classmethod
    def of(cls, tables: Mapping[str, pa.Table], sim_time_ns: int) -> Trace:
        """Return a trace from Arrow tables."""
        listed = {
            name: list(map(TABLES[name].row._make, _rows(table)))
            for name, table in tables.items()
            if name not in WHOLE
        }
        trace = cls(sim_time_ns, **listed)
        trace._whole = {name: _columns(tables[name]) for name in WHOLE}
        return trace

    def columns(self, name: str) -> Columns:
        """Return a table of ``WHOLE`` as arrays; null is nan, or ``NONE``."""
        if name not in self._whole:
            rows = getattr(self, name)
            cells = zip(*rows, strict=True) if rows else [()] * len(SCHEMAS[name])
            batch = batch_of(name, [list(column) for column in cells])
            self._whole[name] = _columns(pa.Table.from_batches([batch]))
        return self._whole[name]

    def once(self, name: str, make: Callable[[], Value]) -> Value:
        """Return what follows from the trace under a name, made at the first call."""
        if name not in self._made:
            self._made[name] = make()
        return cast(Value, self._made[name])

    @cached_property
    def cloud_id(self) -> int:
        """Return the id of the server above edge servers, whose ids are their cells';
        -1, which no server has, where there are no edge servers."""
        return len(self.cells) or -1

    @cached_property
    def empty_ns(self) -> dict[int | None, int]:
        """Return when batteries were empty, by client."""
        marks = (event for event in self.events if event.kind == "battery empty")
        return {event.client_id: event.time_ns for event in marks}

    @cached_property
    def has_edges(self) -> bool:
        """Return whether every cell has a server of its own."""
        return any(row.server_id == self.cloud_id for row in self.rounds)


def read_trace(run_folder: Path, sim_time_ns: int) -> Trace:
    """Return all tables in a run's folder."""
    tables = {name: read_table(run_folder, name) for name in TABLES}
    return Trace.of(tables, sim_time_ns)


def _rows(table: pa.Table) -> Iterable[tuple[object, ...]]:
    return zip(*map(_cells, table.columns), strict=True)


def _cells(column: pa.ChunkedArray) -> list[object]:
    is_text = pa.types.is_dictionary(column.type)
    found: list[object] = _words(column).tolist() if is_text else column.to_pylist()
    return found


def _columns(table: pa.Table) -> Columns:
    return {
        name: _array(column)
        for name, column in zip(table.column_names, table.columns, strict=True)
    }


def _array(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    if pa.types.is_integer(column.type):
        column = column.fill_null(NONE)
    elif pa.types.is_dictionary(column.type):
        return _words(column)
    return np.asarray(column.to_numpy())


def _words(column: pa.ChunkedArray) -> npt.NDArray[np.object_]:
    """Return a column of words that repeat, with one object for each word."""
    if not len(column):
        return np.empty(0, object)
    array = column.combine_chunks()
    words = np.array([*array.dictionary.to_pylist(), None], object)
    found: npt.NDArray[np.object_] = words[array.indices.fill_null(-1).to_numpy()]
    return found


def grouped(rows: Iterable[Row], key: Callable[[Row], Key]) -> dict[Key, list[Row]]:
    """Return rows by key, in order of the keys, those of one key in order of time."""
    found: dict[Key, list[Row]] = {}
    for row in sorted(rows, key=attrgetter("start_ns")):
        found.setdefault(key(row), []).append(row)
    return dict(sorted(found.items()))
