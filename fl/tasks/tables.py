"""Text columns of CSV, TSV, JSON lines and Parquet files, with line numbers."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeAlias

from fl.memory.files import regular
from fl.tasks.data_files import did_you_mean, file_state, local_file

Column: TypeAlias = str | int  # a name, or a position counted from 0
Row: TypeAlias = tuple[int, Mapping[Column, object]]


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Columns of a file as text; ``lines`` has the line number of each row.

    Equality is identity, so that caches need not compare contents.
    """

    name: str
    unit: str  # what ``lines`` counts
    lines: tuple[int, ...]
    columns: tuple[tuple[str, ...], ...]

    def at(self, index: int) -> str:
        """Return the position of a row, for messages."""
        return f"{self.name}, {self.unit} {self.lines[index]}"


def read_table(source: str, columns: tuple[Column, ...], *, header: bool) -> Table:
    """Return columns of a file; ``header``: CSV and TSV begin with a line of names.

    CSV is quoted as in RFC 4180; TSV has no quotes (IANA text/tab-separated-values).
    """
    path = local_file(source)
    return _read(str(path), file_state(path), columns, header)


@lru_cache(maxsize=16)
def _read(
    path: str, state: tuple[int, ...], columns: tuple[Column, ...], header: bool
) -> Table:
    """Return the columns; the file's state is a cache key that detects a change."""
    suffix = _suffix(Path(path))
    reader = _READERS.get(suffix)
    if reader is None:
        raise ValueError(
            f"{path}: a table ends in {', '.join(_READERS)}, got {suffix!r}"
        )
    unit = "row" if suffix == ".parquet" else "line"
    lines, values = [], []
    for line, row in reader(Path(path), header):
        lines.append(line)
        values.append([_text(row, name, f"{path}, {unit} {line}") for name in columns])
    if not lines:
        raise ValueError(f"{path}: holds no rows")
    return Table(path, unit, tuple(lines), tuple(zip(*values, strict=True)))


def _suffix(path: Path) -> str:
    return Path(path.stem).suffix if path.suffix == ".gz" else path.suffix


def _text(row: Mapping[Column, object], column: Column, at: str) -> str:
    """Return one value as text; the error of a missing column lists the columns."""
    if column not in row:
        names = [str(name) for name in row if isinstance(name, str)]
        positions = [name for name in row if isinstance(name, int)]
        known = ", ".join(names) or f"0 to {len(positions) - 1}"
        hint = did_you_mean(str(column), names)
        raise ValueError(f"{at}: no column {column!r}{hint} (columns: {known})")
    value = row[column]
    if isinstance(value, str) and value.strip():
        return value
    if isinstance(value, int | float):
        return str(value)
    raise ValueError(f"{at}: column {column!r} must be text, got {value!r}")


def _content(path: Path) -> str:
    content = regular(path).read_bytes()
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path}: is damaged or no gzip file: {error}") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(f"{path}, line {line}: is not UTF-8 text") from error


def _delimited(path: Path, header: bool, delimiter: str, quoting: int) -> Iterator[Row]:
    # newline="" keeps line ends inside quotes, which the reader counts
    reader = csv.reader(
        io.StringIO(_content(path), newline=""),
        delimiter=delimiter,
        quoting=quoting,  # type: ignore[arg-type]
        strict=True,
    )
    names: list[str] | None = None
    start = 1
    try:
        for cells in reader:
            line, start = start, reader.line_num + 1
            if header and names is None:
                names = cells
            elif cells:
                yield line, _cells(cells, names, f"{path}, line {line}")
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}") from error


def _cells(
    cells: Sequence[str], names: Sequence[str] | None, at: str
) -> Mapping[Column, object]:
    """Return a row's cells by position, and by name if there is a header."""
    row: dict[Column, object] = dict(enumerate(cells))
    if names is not None:
        if len(cells) != len(names):
            raise ValueError(
                f"{at}: must have {len(names)} cells like the header, got {len(cells)}"
            )
        row.update(zip(names, cells, strict=True))
    return row


def _json_lines(path: Path, header: bool) -> Iterator[Row]:
    for line, text in enumerate(_content(path).splitlines(), start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {line}: not JSON: {error.msg}") from error
        except RecursionError:
            raise ValueError(f"{path}, line {line}: is nested too deep") from None
        if not isinstance(row, dict):
            raise ValueError(f"{path}, line {line}: must be an object, got {row!r:.40}")
        yield line, row


def _parquet(path: Path, header: bool) -> Iterator[Row]:
    import pyarrow
    from pyarrow import parquet

    try:
        with open(path, "rb") as file:  # pyarrow takes no path that is not UTF-8
            table = parquet.read_table(file)
        rows = table.to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as Parquet: {error}") from error
    yield from enumerate(rows, start=1)


_READERS: Mapping[str, Callable[[Path, bool], Iterator[Row]]] = {
    ".csv": partial(_delimited, delimiter=",", quoting=csv.QUOTE_MINIMAL),
    ".tsv": partial(_delimited, delimiter="\t", quoting=csv.QUOTE_NONE),
    ".jsonl": _json_lines,
    ".parquet": _parquet,
}
