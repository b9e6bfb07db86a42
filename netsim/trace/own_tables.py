"""Tables of a user's own classes: rows until the run ends, then one part each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from inspect import formatannotation
from numbers import Integral, Real
from typing import Any, NamedTuple, TypeVar, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq

from netsim.errors import InputError
from netsim.trace.columns import column_of
from netsim.trace.schemas import FREE_TEXT, schema_of
from netsim.trace.tables import TABLES

Row = TypeVar("Row", bound=NamedTuple)
NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")
KINDS: dict[object, Any] = {  # what a column of each annotation takes
    bool: bool,
    int: Integral,
    float: Real,
    str: str,
    int | None: Integral | None,
    float | None: Real | None,
}


class OwnTables:
    """Rows by table, whose class gives the schema."""

    def __init__(self) -> None:
        self._rows: dict[str, list[Any]] = {}
        self._types: dict[str, type[NamedTuple]] = {}
        self._hints: dict[str, dict[str, object]] = {}

    def add(self, name: str, row: NamedTuple) -> None:
        """Append a row to a table, which the first one makes."""
        if name not in self._rows:
            self._hints[name] = _columns(name, row)
            self._types[name], self._rows[name] = type(row), []
        if type(row) is not self._types[name]:
            kinds = self._types[name].__name__, type(row).__name__
            raise InputError("table {!r}: rows are {}, got {}".format(name, *kinds))
        for (column, hint), value in zip(self._hints[name].items(), row, strict=True):
            if not isinstance(value, KINDS[hint]):
                text = f"{column} must be {formatannotation(hint)}, got {value!r:.80}"
                raise InputError(f"table {name!r}: {text}")
        self._rows[name].append(row)

    def tables(self) -> Iterator[tuple[str, pa.Table]]:
        """Yield each table by name."""
        for name, rows in sorted(self._rows.items()):
            schema = schema_of(name, self._types[name])
            cells = zip(schema, zip(*rows, strict=True), strict=True)
            try:
                columns = [column_of(field, list(values)) for field, values in cells]
            except (OverflowError, UnicodeError) as error:
                raise InputError(f"table {name!r}: {error}") from error
            yield name, pa.Table.from_arrays(columns, schema=schema)


def content_of(table: pa.Table) -> memoryview:
    """Return the content of a part; the checksums let a reader notice damage."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return memoryview(sink.getvalue())


def _columns(name: object, row: object) -> dict[str, object]:
    """Return the columns of a new table with what is annotated, or refuse them."""
    if not isinstance(name, str) or name in TABLES or not NAME.fullmatch(name):
        raise InputError(
            f"a table of your own cannot be named {name!r:.120}: use small letters, "
            "digits and _, 100 at most, and no name of the trace's own tables"
        )
    columns = get_type_hints(type(row)) if isinstance(row, tuple) else {}
    if not isinstance(row, tuple) or not 0 < len(columns) == len(row):
        raise InputError(
            f"table {name!r}: a row must be of a class of typing.NamedTuple with "
            f"columns, got {row!r:.80}"
        )
    for column, hint in columns.items():
        if hint not in KINDS or (column in FREE_TEXT and hint is not str):
            kinds = "bool, int, float, str, int | None or float | None"
            known = "str" if column in FREE_TEXT else kinds
            text = f"{column} must be {known}, got {formatannotation(hint)}"
            raise InputError(f"table {name!r}: {text}")
    return columns
