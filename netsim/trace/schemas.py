"""One explicit Arrow schema per table, and how its columns are stored in Parquet."""

from __future__ import annotations

from typing import NamedTuple, get_type_hints

import pyarrow as pa

from netsim.trace import rows
from netsim.trace.literals import EventKind, Status
from netsim.trace.tables import TABLES

CATEGORY = pa.dictionary(pa.int32(), pa.string())
FREE_TEXT = frozenset({"detail"})  # text that is not one of a few words

ARROW_TYPES: dict[object, pa.DataType] = {
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    str: CATEGORY,
    Status: CATEGORY,
    EventKind: CATEGORY,
    int | None: pa.int64(),
    float | None: pa.float64(),
}

UNITS = (
    "a column's unit ends its name: _ns nanoseconds of simulated time, _bits bits, "
    "_bps bit/s, _hz hertz, _uhz 1e-6 Hz, _nbit_s_hz 1e-9 bit/s/Hz, _flop operations, "
    "_j joules, _m metres, _db decibels; work done is share_uhz * efficiency * ns in "
    "1e-24 bit"
)


def schema_of(table: str, row_type: type[NamedTuple]) -> pa.Schema:
    """Return the schema of a table of such rows."""
    fields = []
    for name, hint in get_type_hints(row_type).items():
        arrow_type = pa.string() if name in FREE_TEXT else ARROW_TYPES[hint]
        fields.append(
            pa.field(name, arrow_type, nullable=hint in (int | None, float | None))
        )
    metadata = {
        "netsim.table": table,
        "netsim.trace_version": str(rows.TRACE_VERSION),
        "netsim.units": UNITS,
    }
    return pa.schema(fields, metadata=metadata)


SCHEMAS: dict[str, pa.Schema] = {
    name: schema_of(name, table.row) for name, table in TABLES.items()
}


def category_columns(table: str) -> list[str]:
    """Return the columns stored as a dictionary: words that repeat."""
    return [field.name for field in SCHEMAS[table] if field.type == CATEGORY]


def column_encodings(table: str) -> dict[str, str]:
    """Return the Parquet encoding of every column without a dictionary."""
    encodings = {
        pa.int64(): "DELTA_BINARY_PACKED",
        pa.float64(): "BYTE_STREAM_SPLIT",
        pa.bool_(): "PLAIN",
        pa.string(): "PLAIN",
    }
    fields = [field for field in SCHEMAS[table] if field.type != CATEGORY]
    return {field.name: encodings[field.type] for field in fields}
