"""Tables that a command writes into a folder of the user's choosing."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from netsim.core.files import whole_file
from netsim.errors import InputError


def write_table(table: pa.Table, path: Path) -> None:
    """Write a Parquet file, whole; refuse to replace a file of other columns, which is
    not one of an earlier call."""
    if path.exists() and _columns(path) != table.column_names:
        raise InputError(
            f"{path} exists and is not what this command writes; choose another folder"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        pq.write_table(table, file)


def _columns(path: Path) -> list[str]:
    """Return the columns of a Parquet file; none of any other file."""
    try:
        with open(path, "rb") as file:  # pyarrow takes no path that is not UTF-8
            found: list[str] = pq.read_schema(file).names
    except (OSError, pa.ArrowException):
        return []
    return found
