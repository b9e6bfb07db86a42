"""Tables of a user's own classes: rows until the run ends, then one part each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq

from netsim.errors import InputError
from netsim.trace.columns import column_of
from netsim.trace.schemas import ARROW_TYPES, schema_of
from netsim.trace.tables import TABLES

Row = TypeVar("Row", bound=NamedTuple)
NAME = re.compile(r"[a-z][a-z0-9_]*")


class OwnTables:
    """Rows by table, whose class gives the schema."""

    def __init__(self) -> None:
        self._rows: dict[str, list[Any]] = {}
        self._types: dict[str, type[NamedTuple]] = {}

    def add(self, name: str, row: NamedTuple) -> None:
        """Append a row to a table, which the first one makes."""
        if name not in self._types:
            _require_table(name, type(row))
            self._types[name], self._rows[name] = type(row), []
        if type(row) is not self._types[name]:
            kinds = self._types[name].__name__, type(row).__name__
            raise InputError("table {!r}: rows are {}, got {}".format(name, *kinds))
        self._rows[name].append(row)

    def tables(self) -> Iterator[tuple[str, pa.Table]]:
        """Yield each table by name."""
        for name, rows in sorted(self._rows.items()):
            schema = schema_of(name, self._types[name])
            cells = zip(schema, zip(*rows, strict=True), strict=True)
            try:
                columns = [column_of(field, list(values)) for field, values in cells]
            except (OverflowError, TypeError, UnicodeEncodeError) as error:
                raise InputError(f"table {name!r}: {error}") from error
            yield name, pa.Table.from_arrays(columns, schema=schema)


def content_of(table: pa.Table) -> memoryview:
    """Return the content of a part; the checksums let a reader notice damage."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return memoryview(sink.getvalue())


def _require_table(name: str, row: type[NamedTuple]) -> None:
    if name in TABLES or not NAME.fullmatch(name):
        raise InputError(
            f"a table of your own cannot be named {name!r}: use small letters, digits "
            "and _, and no name of the trace's own tables"
        )
    columns = get_type_hints(row)
    if not columns or list(columns) != [*vars(row).get("_fields", ())]:
        raise InputError(
            f"table {name!r}: a row must be a typing.NamedTuple with at least one "
            f"column, got {row.__name__}"
        )
    for column, hint in columns.items():
        if hint not in ARROW_TYPES:
            raise InputError(
                f"table {name!r}: {column} must be bool, int, float, str, int | None "
                f"or float | None, got {hint!r}"
            )
