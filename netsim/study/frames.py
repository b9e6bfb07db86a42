"""A study on disk: its Parquet files as pandas frames, and how they are written."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fl.contract import METRICS
from netsim.core.files import write_atomically
from netsim.errors import InputError
from netsim.study.summary import evidence, sentence, summarise

TABLE, CURVES, SUMMARY = "study.parquet", "curves.parquet", "summary.parquet"
CHECKSUM = b"netsim.checksum"
COLUMNS: Mapping[str, str] = {
    "variant": "str",
    "baseline": "str",
    "seed": "int64",
    "status": "str",
    "target": "str",
    "is_reached": "boolean",
    "time_ns": "Int64",
    "rounds": "Int64",
    "upload_bits": "Int64",
    "download_bits": "Int64",
    "energy_j": "float64",
    "end_ns": "Int64",
    **{f"final_{name}": "float64" for name in METRICS},
    "digest": "str",
    "other_code": "str",  # modules of a kept run that differ from today's, or unknown
}


class Study:
    """A study, finished or not; of a killed one the tables hold the finished runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __repr__(self) -> str:
        return f"Study({str(self.folder)!r})"

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per run and target. ``time_ns`` is when the target was met, or, where
        it was not (``is_reached`` is false), when the run ended: a lower bound. Rounds,
        bits and joules are up to then. ``other_code`` names the modules that were other
        ones when a run was made, where such a run was kept."""
        return read_frame(self.folder / TABLE)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """One row per run and global evaluation."""
        return read_frame(self.folder / CURVES)

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row per combination and target: its statistics against the baseline."""
        return summarise(self.table)

    @property
    def sentences(self) -> list[str]:
        """The summary in plain words: per target a heading, and a line per
        combination; then what all comparisons show together."""
        lines = []
        for target, rows in self.summary.groupby("target", sort=False):
            lines.append(f"to {target}")
            lines += [f"  {sentence(row)}" for _, row in rows.iterrows()]
        return [*lines, *evidence(self.summary)]


def load_study(folder: str | Path) -> Study:
    """Return the study in a folder; its tables are read when first asked for."""
    path = Path(folder)
    if not (path / TABLE).is_file():
        raise InputError(f"no study at {path}: there is no {TABLE}")
    return Study(path)


def write_table(
    folder: Path, axes: Sequence[str], rows: Sequence[Mapping[str, object]]
) -> None:
    """Write one row per run and target, in the order given."""
    kinds = {"variant": "str", **dict.fromkeys(axes, "str"), **COLUMNS}
    frame = pd.DataFrame(rows, columns=list(kinds)).astype(kinds)
    write_frame(frame, folder / TABLE)


def write_curves(folder: Path, curves: Sequence[pd.DataFrame]) -> None:
    """Write the runs' curves in order; without any there is no file."""
    if curves:
        write_frame(pd.concat(curves, ignore_index=True), folder / CURVES)
    else:
        (folder / CURVES).unlink(missing_ok=True)


def write_summary(study: Study) -> None:
    """Write the statistics into the study's folder."""
    write_frame(study.summary, study.folder / SUMMARY)


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as Parquet, with its checksum."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    known = {**(table.schema.metadata or {}), CHECKSUM: _checksum(frame)}
    file = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(known), file)
    write_atomically(path, file.getvalue())


def read_frame(path: Path) -> pd.DataFrame:
    """Return a table that ``write_frame`` wrote; refuse a damaged one."""
    try:
        with open(path, "rb") as file:  # pyarrow takes no path that is not UTF-8
            table = pq.read_table(file)
        frame: pd.DataFrame = table.to_pandas()
        found = _checksum(frame)
    except FileNotFoundError:
        raise InputError(f"no {path}: no run of the study is finished") from None
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} is damaged: {reason}") from error
    if (table.schema.metadata or {}).get(CHECKSUM) != found:
        raise InputError(
            f"{path} is damaged: its content has another checksum; the study's own "
            "command writes it again"
        )
    return frame


def _checksum(frame: pd.DataFrame) -> bytes:
    """Return the SHA-256 of a table's values and types."""
    found = hashlib.sha256(repr([*frame.dtypes.items()]).encode())
    found.update(frame.to_csv(index=False).encode())
    return found.hexdigest().encode()
