"""The one recorder of a run: rows in, Parquet parts that are whole or absent out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from netsim.core.files import Part, make_folder, sync, write_atomically, write_together
from netsim.trace.columns import Column, column_of
from netsim.trace.digest import TableDigest, digest_of, network_digest, run_digest
from netsim.trace.own_tables import OwnTables, content_of
from netsim.trace.schemas import SCHEMAS, category_columns, column_encodings
from netsim.trace.tables import TABLES, Rows

CHUNK_ROWS = 4096  # become columns together: few enough to stay in the cache


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """What a closed recorder knows of the trace it wrote."""

    parts: tuple[Part, ...]
    num_rows: dict[str, int]
    table_digests: dict[str, str]

    @property
    def network_digest(self) -> str:
        """Return the digest of everything that the clock decides."""
        return network_digest(self.table_digests)

    def digest(self, adapter_digest: str = "") -> str:
        """Return the digest of the whole run, final adapter included."""
        return run_digest(self.table_digests, adapter_digest)


class Recorder(Rows):
    """Takes rows by ``recorder.tasks.append(...)``; the lists stay the same objects.

    The server calls :meth:`flush_full` often (it costs a ``len`` per table), which
    bounds the memory: rows become columns after some thousands, and columns a part at
    ``flush_rows``. A part is never smaller, save a table's last.
    """

    def __init__(self, run_folder: Path, flush_rows: int = 65_536) -> None:
        super().__init__()
        self._flush_rows = flush_rows
        self._pack_rows = min(flush_rows, CHUNK_ROWS)
        self._tables = [
            _Table(run_folder, name, getattr(self, name)) for name in TABLES
        ]
        self._folder = run_folder / "trace"
        self.own = OwnTables()

    def flush_full(self) -> None:
        """Pack rows into columns, and write a part of every table that is full."""
        for table in self._tables:
            if len(table.buffer) >= self._pack_rows:
                table.pack()
                if table.num_packed >= self._flush_rows:
                    table.flush()

    def write_columns(self, table: str, columns: Sequence[Column]) -> None:
        """Take many rows at once, given as all columns of a table, after those that it
        has: what a whole population's rows need no object each for."""
        of = next(one for one in self._tables if one.name == table)
        of.pack()
        (num_rows,) = {len(column) for column in columns}
        for start in range(0, num_rows, self._flush_rows):
            part = slice(start, start + self._flush_rows)
            of.take(batch_of(table, [column[part] for column in columns]))
            if of.num_packed >= self._flush_rows:
                of.flush()

    def close(self) -> TraceSummary:
        """Write what is left; a table has at least one part then, unless optional."""
        for table in self._tables:
            table.pack()
        drafts = [
            (table, table.draft())
            for table in self._tables
            if table.num_packed or not (table.parts or table.is_optional)
        ]
        own = [self._own_draft(*one) for one in self.own.tables()]
        every = [*(draft for _, draft in drafts), *own]
        write_together({one.path: one.content for one in every}, self._folder)
        for table, draft in drafts:
            table.note(draft)
        parts = [part for table in self._tables for part in table.parts]
        digests = {t.name: t.digest.hexdigest() for t in self._tables if t.parts}
        digests |= {one.of: digest_of(one.of, one.table) for one in own}
        return TraceSummary(
            parts=(*parts, *map(_part, own)),
            num_rows={t.name: sum(p.num_rows for p in t.parts) for t in self._tables},
            table_digests=digests,
        )

    def _own_draft(self, name: str, table: pa.Table) -> _Draft:
        """Return a table of a user's own as its one part, whose folder exists."""
        path = f"trace/{name}/part-00000.parquet"
        make_folder(self._folder / name)
        return _Draft(self._folder.parent / path, path, content_of(table), table)


def clear_trace(run_folder: Path) -> None:
    """Remove the parts of an earlier attempt, which a resumed run writes again."""
    for path in (run_folder / "trace").glob("*/*part-*.parquet*"):
        path.unlink()


class _Table:
    """One table on its way to disk."""

    def __init__(self, run_folder: Path, name: str, buffer: list[NamedTuple]) -> None:
        self.name = name
        self.buffer = buffer
        self.parts: list[Part] = []
        self._packed: list[pa.RecordBatch] = []
        self.digest = TableDigest(name)
        self._run_folder = run_folder
        self.is_optional = TABLES[name].is_optional
        folder = run_folder / "trace" / name
        if not self.is_optional:
            folder.mkdir(parents=True, exist_ok=True)
        if any(folder.glob("part-*.parquet")):
            raise FileExistsError(f"{folder} holds a trace already; clear it first")

    @property
    def num_packed(self) -> int:
        """Return the number of rows that wait as columns for the next part."""
        return sum(batch.num_rows for batch in self._packed)

    def pack(self) -> None:
        """Turn the buffered rows into columns and forget them."""
        if self.buffer:
            self._packed.append(record_batch(self.name, self.buffer))
            self.buffer.clear()

    def take(self, batch: pa.RecordBatch) -> None:
        """Let columns wait for the next part, after the rows packed so far."""
        assert not self.buffer, "earlier rows are packed first"
        self._packed.append(batch)

    def flush(self) -> None:
        """Write the packed rows as the next part and forget them."""
        draft = self.draft()
        write_atomically(draft.path, draft.content)
        sync(draft.path.parents[1])  # the name of its folder
        self.note(draft)

    def draft(self) -> _Draft:
        """Return the packed rows as the next part, whose folder exists."""
        table = pa.Table.from_batches(self._packed, schema=SCHEMAS[self.name])
        table = table.unify_dictionaries()
        path = f"trace/{self.name}/part-{len(self.parts):05d}.parquet"
        make_folder((self._run_folder / path).parent)
        content = _parquet(self.name, table)
        return _Draft(self._run_folder / path, path, content, table)

    def note(self, draft: _Draft) -> None:
        """Note that the next part is written, and forget its rows."""
        self.digest.update(draft.table)
        self.parts.append(_part(draft))
        self._packed.clear()


class _Draft(NamedTuple):
    """A part before it is written; ``name`` is its path within the run's folder."""

    path: Path
    name: str
    content: memoryview
    table: pa.Table

    @property
    def of(self) -> str:
        """Return the name of its table."""
        return self.path.parent.name


def _part(draft: _Draft) -> Part:
    return Part(
        table=draft.of,
        path=draft.name,
        num_rows=draft.table.num_rows,
        num_bytes=len(draft.content),
        sha256=hashlib.sha256(draft.content).hexdigest(),
    )


def record_batch(name: str, buffer: list[NamedTuple]) -> pa.RecordBatch:
    """Return rows as columns with the exact schema of the table ``name``."""
    num_columns = len(SCHEMAS[name])
    # no object per row, as in zip(*buffer): these would wake the garbage collector
    cells = list(chain.from_iterable(buffer))
    return batch_of(name, [cells[index::num_columns] for index in range(num_columns)])


def batch_of(name: str, columns: Sequence[Column]) -> pa.RecordBatch:
    """Return columns with the exact schema of the table ``name``, in its order."""
    schema = SCHEMAS[name]
    arrays = [
        _array(name, field, values)
        for field, values in zip(schema, columns, strict=True)
    ]
    return pa.record_batch(arrays, schema=schema)


def _array(table: str, field: pa.Field, values: Column) -> pa.Array:
    """Return one column; a float among integers is refused, never cut to fit."""
    try:
        return column_of(field, values)
    except (OverflowError, TypeError) as error:
        raise ValueError(
            f"{table}.{field.name} must be {field.type}: {error}"
        ) from error


def _parquet(name: str, table: pa.Table) -> memoryview:
    """Return the content of a part; the checksums let a reader notice damage."""
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        compression="zstd",
        use_dictionary=category_columns(name),
        column_encoding=column_encodings(name),
        write_page_checksum=True,
    )
    return memoryview(sink.getvalue())
