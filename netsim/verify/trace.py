"""The rows of a complete trace, which the checks compare with each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from netsim.runs.run import part_paths, read_part, whole_table
from netsim.trace.columns import column_of, indices_of, is_present, numbers_of
from netsim.trace.rows import Task
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


NONE = -1  # stands for null among integers; no id, rank or time is negative

NO_ROWS = {pa.int64(): np.int64, pa.float64(): np.float64, pa.bool_(): np.bool_}
MASK = pa.field("kept", pa.bool_())

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Columns = dict[str, Array]


class Trace(Rows):
    """All tables of a run, and when it ends; rows are made when first asked for."""

    def __init__(self, sim_time_ns: int, **tables: list[Any]) -> None:
        super().__init__(**tables)
        self.sim_time_ns = sim_time_ns
        self._tables: dict[str, pa.Table] = {}
        self._columns: dict[str, Columns] = {}
        self._made: dict[str, object] = {}

    @classmethod
    def of(cls, tables: Mapping[str, pa.Table], sim_time_ns: int) -> Trace:
        """Return a trace from Arrow tables."""
        trace = cls(sim_time_ns)
        trace._hold({name: _in_one(table) for name, table in tables.items()})
        return trace

    def _hold(self, tables: Mapping[str, pa.Table]) -> None:
        for name, table in tables.items():
            delattr(self, name)
            self._tables[name] = table

    @classmethod
    def over(cls, rows: Rows) -> Trace:
        """Return rows as a trace; one is returned as it is."""
        if isinstance(rows, cls):
            return rows
        return cls(0, **{name: getattr(rows, name) for name in TABLES})

    def __getattr__(self, name: str) -> list[Any]:
        """Return the rows of a table that has been given as Arrow's."""
        if name not in self.__dict__.get("_tables", ()):
            raise AttributeError(name)
        rows = list(map(TABLES[name].row._make, _rows(self._tables[name])))
        setattr(self, name, rows)
        return rows

    def columns(self, name: str) -> Columns:
        """Return a table as arrays; null is nan, or ``NONE``."""
        if name not in self._columns:
            self._columns[name] = _columns(self._table(name))
        return self._columns[name]

    def only(self, **kept: Mask) -> Trace:
        """Return the trace with some rows of some tables, in the same order."""
        if all(mask.all() for mask in kept.values()):
            return self
        found = Trace(self.sim_time_ns)
        for name, mask in kept.items():
            found._hold({name: self._table(name).filter(column_of(MASK, mask))})
        for name in TABLES.keys() - kept.keys():
            if name in self._tables:
                found._hold({name: self._tables[name]})
            if name in self.__dict__:
                setattr(found, name, self.__dict__[name])
            if name in self._columns:
                found._columns[name] = self._columns[name]
        return found

    def _table(self, name: str) -> pa.Table:
        if name not in self._tables:
            rows = getattr(self, name)
            cells = zip(*rows, strict=True) if rows else [()] * len(SCHEMAS[name])
            batch = batch_of(name, [list(column) for column in cells])
            self._tables[name] = pa.Table.from_batches([batch])
        return self._tables[name]

    def once(self, name: str, make: Callable[[], Value]) -> Value:
        """Return what follows from the trace under a name, made at the first call."""
        if name not in self._made:
            self._made[name] = make()
        return cast(Value, self._made[name])

    @property
    def tasks_by_id(self) -> list[Task]:
        """Return the tasks in order of their ids, which a forged trace repeats."""
        return sorted(self.tasks, key=attrgetter("task_id"))

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


class Parts:
    """The parts of a run's tables, each read once."""

    def __init__(self, run_folder: Path) -> None:
        self._folder = run_folder
        self._read: dict[Path, pa.Table] = {}

    def paths(self, table: str) -> list[Path]:
        """Return the finished parts of a table, in order."""
        return part_paths(self._folder, table)

    def read(self, path: Path, table: str) -> pa.Table:
        """Return one part, which must have the table's schema."""
        if path not in self._read:
            self._read[path] = read_part(path, table)
        return self._read[path]

    def trace(self, sim_time_ns: int) -> Trace:
        """Return all tables, and let go of their parts."""
        tables = {}
        for name in TABLES:  # whole columns, one table after the other
            paths = self.paths(name)
            parts = [self.read(path, name) for path in paths]
            for path in paths:
                del self._read[path]
            tables[name] = _in_one(whole_table(name, parts))
            del parts
        pa.default_memory_pool().release_unused()
        return Trace.of(tables, sim_time_ns)


class Places:
    """Where each id of a column stands."""

    def __init__(self, ids: Array) -> None:
        self._order = np.argsort(ids, kind="stable")
        self._ids = ids[self._order]
        self.are_unique = bool((self._ids[1:] > self._ids[:-1]).all())

    def of(self, wanted: Array) -> Array:
        """Return the place of each wanted id, -1 of one that is not there."""
        if not len(self._ids):
            return np.full(len(wanted), -1)
        found = np.minimum(np.searchsorted(self._ids, wanted), len(self._ids) - 1)
        return np.where(self._ids[found] == wanted, self._order[found], -1)


def at(values: Array, places: Array) -> Array:
    """Return the values at places; anything where there is no value at all."""
    return values[places] if len(values) else np.zeros(len(places), values.dtype)


class Sent(NamedTuple):
    """Each task's own messages in one direction: how many, and where the last is."""

    number: Array
    place: Array


class Joined:
    """Tasks and the messages that are theirs."""

    def __init__(self, trace: Trace) -> None:
        self.tasks, self.transfers = trace.columns("tasks"), trace.columns("transfers")
        places = Places(self.tasks["task_id"])
        self.are_unique = places.are_unique
        self.task = places.of(self.transfers["task_id"])  # -1: of none
        self.is_common = self.transfers["task_id"] == NONE
        self._found: dict[str, Sent] = {}
        there = self.transfers["end_ns"].copy()  # when a message arrived
        arrivals = trace.columns("arrivals")
        late = Places(self.transfers["transfer_id"]).of(arrivals["transfer_id"])
        there[late[late >= 0]] = arrivals["arrival_ns"][late >= 0]
        self.there_ns = there

    def sent(self, direction: str) -> Sent:
        """Return each task's messages in a direction."""
        if direction not in self._found:
            is_own = (self.transfers["direction"] == direction) & (self.task >= 0)
            number = np.bincount(self.task[is_own], minlength=len(self.tasks["rank"]))
            place = np.full(len(number), -1)
            place[self.task[is_own]] = np.flatnonzero(is_own)
            self._found[direction] = Sent(number, place)
        return self._found[direction]

    def messages_of(self, tasks: Mask) -> Mask:
        """Return which messages are of these tasks, of all, or of none that exists."""
        return np.asarray(self.is_common | (self.task < 0) | at(tasks, self.task))


def joined(trace: Trace) -> Joined:
    """Return the tasks of a trace with their messages."""
    return trace.once("joined", lambda: Joined(trace))


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
    if pa.types.is_dictionary(column.type):
        return _words(column)
    if pa.types.is_string(column.type) or not len(column):
        kind = NO_ROWS.get(column.type, object)
        return np.array(column.to_pylist(), kind)
    array = _whole(column)
    values = numbers_of(array)
    if array.null_count:
        none = NONE if pa.types.is_integer(column.type) else np.nan
        values = np.where(is_present(array), values, none)
    return values.astype(bool) if column.type == pa.bool_() else values


def _words(column: pa.ChunkedArray) -> npt.NDArray[np.object_]:
    """Return a column of words that repeat, with one object for each word."""
    if not len(column):
        return np.empty(0, object)
    array = _whole(column)
    words = np.array([*array.dictionary.to_pylist(), None], object)
    found: npt.NDArray[np.object_] = words[indices_of(array)]
    return found


def _in_one(table: pa.Table) -> pa.Table:
    """Return a table whose columns are one array each, copied only if they are not."""
    is_in_one = all(column.num_chunks == 1 for column in table.columns)
    return table if is_in_one else table.combine_chunks()


def _whole(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array, copied only if it is in pieces."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def grouped(rows: Iterable[Row], key: Callable[[Row], Key]) -> dict[Key, list[Row]]:
    """Return rows by key, in order of the keys, those of one key in order of time."""
    found: dict[Key, list[Row]] = {}
    for row in sorted(rows, key=attrgetter("start_ns")):
        found.setdefault(key(row), []).append(row)
    return dict(sorted(found.items()))
