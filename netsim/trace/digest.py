"""Digests of a trace's values, independent of its division into parts.

Per column three streams are hashed: which values are there, the lengths of texts, and
the values as little-endian bytes. A missing value counts as zero or as an empty text,
every nan as the same nan.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from netsim.trace.columns import is_present, numbers_of, texts_of, words_of
from netsim.trace.rows import TRACE_VERSION
from netsim.trace.schemas import CATEGORY, SCHEMAS
from netsim.trace.tables import TABLES, Group


class TableDigest:
    """The digest of one table, fed part by part."""

    def __init__(self, table: str, schema: pa.Schema | None = None) -> None:
        """Begin with no rows; ``schema`` is that of a table of a user's own."""
        self._table = table
        fields = SCHEMAS[table] if schema is None else schema
        self._columns = [_ColumnDigest(field) for field in fields]
        self._num_rows = 0

    def update(self, part: pa.Table) -> None:
        """Add the rows of ``part``, which has the table's schema."""
        if not part.num_rows:
            return
        self._num_rows += part.num_rows
        for digest, column in zip(self._columns, part.columns, strict=True):
            digest.update(column.combine_chunks())

    def hexdigest(self) -> str:
        """Return the digest of all rows so far."""
        columns = [[*c.description, c.hexdigest()] for c in self._columns]
        return _digest([self._table, TRACE_VERSION, self._num_rows, columns])


def digest_of(name: str, table: pa.Table) -> str:
    """Return the digest of a whole table of a user's own."""
    digest = TableDigest(name, table.schema)
    digest.update(table)
    return digest.hexdigest()


def network_digest(table_digests: Mapping[str, str]) -> str:
    """Return the digest of everything that the clock decides."""
    return _digest(_of_group("clock", table_digests))


def run_digest(table_digests: Mapping[str, str], adapter_digest: str) -> str:
    """Return the digest of the clock's tables, the learning and the final adapter."""
    learning = _of_group("learning", table_digests)
    own = sorted(table_digests.keys() - TABLES.keys())
    learning += [[name, table_digests[name]] for name in own]
    return _digest([network_digest(table_digests), learning, adapter_digest])


def _of_group(group: Group, table_digests: Mapping[str, str]) -> list[list[str]]:
    """Return names and digests of a group's tables; optional ones may be absent."""
    names = [name for name, table in TABLES.items() if table.order.group == group]
    return [
        [name, table_digests[name]]
        for name in names
        if name in table_digests or not TABLES[name].is_optional
    ]


class _ColumnDigest:
    def __init__(self, field: pa.Field) -> None:
        kind = pa.string() if field.type == CATEGORY else field.type
        self.description = (field.name, str(kind), field.nullable)
        self._present = hashlib.sha256()
        self._lengths = hashlib.sha256()
        self._values = hashlib.sha256()

    def update(self, array: pa.Array) -> None:
        _, kind, is_nullable = self.description
        if is_nullable:
            self._present.update(is_present(array).data)
        if kind == "string":
            lengths, text = (
                words_of(array)
                if pa.types.is_dictionary(array.type)
                else texts_of(array)
            )
            self._lengths.update(lengths.astype("<i8").data)
            self._values.update(text)
        else:
            self._values.update(_little_endian(numbers_of(array)).data)

    def hexdigest(self) -> str:
        streams = (self._present, self._lengths, self._values)
        return _digest([stream.hexdigest() for stream in streams])


def _little_endian(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if values.dtype == np.float64:
        values = np.where(np.isnan(values), np.nan, values)
    return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
