"""Given partitions: by a column of the data, or from a file."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.random import Generator
from pydantic import Field

from fl.memory.files import regular
from fl.partition.partition import Indices, require_enough, shares_of, top_up
from fl.record import Record
from fl.tasks import Source
from fl.tasks.data_files import DataFile, local_file

MAX_DIGITS = 19  # shorter numbers fit into 64 bits


class ByColumn(Record):
    """All samples with the same value of a column, such as the author, stay together.

    Values are assigned in random order, each to the client with the fewest values, so
    that with as many clients as values each client has one.
    """

    kind: Literal["column"] = "column"
    column: str = Field(min_length=1)
    min_partition_size: int = Field(default=1, ge=1)

    def groups(self, task: Source) -> Indices:
        """Return each sample's index into the sorted values."""
        _, indices = np.unique(task.column(self.column), return_inverse=True)
        return indices.astype(np.int64)

    def split(self, groups: Indices, num_clients: int, rng: Generator) -> list[Indices]:
        """Return partitions of whole groups, filled up to the minimum size."""
        num_groups = int(groups.max(initial=-1)) + 1
        if num_groups < num_clients:
            raise ValueError(
                f"partition.column: {self.column!r} has {num_groups} values, too few "
                f"for {num_clients} clients"
            )
        require_enough(len(groups), num_clients, self.min_partition_size)
        client_of = np.empty(num_groups, dtype=np.int64)
        client_of[rng.permutation(num_groups)] = np.arange(num_groups) % num_clients
        owner = client_of[groups]
        top_up(owner, num_clients, self.min_partition_size, rng)
        return shares_of(owner, num_clients)


class FromFile(Record):
    """A file assigns each training sample to a client; both are counted from 0.

    CSV with the columns ``sample,client``, or JSON: a list with the client of each
    sample, or an object that maps a client to its samples. Every sample must occur
    exactly once.
    """

    kind: Literal["file"] = "file"
    path: DataFile
    min_partition_size: int = Field(default=1, ge=1)

    def groups(self, task: Source) -> Indices:
        """Return each sample's client."""
        return _owners(local_file(self.path), len(task.labels("train")))

    def split(self, groups: Indices, num_clients: int, rng: Generator) -> list[Indices]:
        """Return the partitions of the file; ``groups`` are the clients."""
        owner = groups
        if owner.max(initial=-1) >= num_clients:
            raise ValueError(
                f"{self.path}: names client {owner.max()}, but there are {num_clients} "
                "(they count from 0)"
            )
        sizes = np.bincount(owner, minlength=num_clients)
        if sizes.min() < self.min_partition_size:
            raise ValueError(
                f"{self.path}: client {sizes.argmin()} must hold at least "
                f"{self.min_partition_size} samples, got {sizes.min()}"
            )
        return shares_of(owner, num_clients)


def _owners(path: Path, num_samples: int) -> Indices:
    """Return each sample's client; errors name the line or entry."""
    reader = {".csv": _csv_pairs, ".json": _json_pairs}.get(path.suffix)
    if reader is None:
        raise ValueError(f"{path}: must end in .csv or .json, got {path.suffix!r}")
    owner = np.full(num_samples, -1, dtype=np.int64)
    for at, sample, client in reader(path):
        if not 0 <= sample < num_samples:
            raise ValueError(
                f"{at}: sample must be from 0 to {num_samples - 1}, got {sample}"
            )
        if client < 0:
            raise ValueError(f"{at}: client must be at least 0, got {client}")
        if owner[sample] >= 0:
            raise ValueError(
                f"{at}: sample {sample} is given to client {owner[sample]} already"
            )
        owner[sample] = client
    missing = np.flatnonzero(owner < 0)
    if len(missing):
        raise ValueError(
            f"{path}: sample {missing[0]} has no client ({len(missing)} such samples)"
        )
    return owner


def _csv_pairs(path: Path) -> list[tuple[str, int, int]]:
    rows = csv.DictReader(_read_text(path).splitlines())
    try:
        if sorted(rows.fieldnames or ()) != ["client", "sample"]:
            names = shortened(repr(rows.fieldnames))
            raise ValueError(f"{path}, line 1: must be 'sample,client', got {names}")
        found = []
        for row in rows:
            at = f"{path}, line {rows.line_num}"
            found.append((at, _whole(row["sample"], at), _whole(row["client"], at)))
    except csv.Error as error:
        raise ValueError(f"{path}, line {rows.line_num}: {error}") from error
    return found


def _json_pairs(path: Path) -> list[tuple[str, int, int]]:
    try:
        data = json.loads(_read_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {error.lineno}: {error.msg}") from error
    except RecursionError:
        raise ValueError(f"{path}: is nested too deep") from None
    if isinstance(data, list):
        return [
            (f"{path}, entry {i}", i, _whole(client, f"{path}, entry {i}"))
            for i, client in enumerate(data)
        ]
    if isinstance(data, Mapping) and all(isinstance(v, list) for v in data.values()):
        return [
            (at, _whole(sample, at), _whole(client, at))
            for client, samples in data.items()
            for at in [f"{path}, client {client}"]
            for sample in samples
        ]
    raise ValueError(f"{path}: must be a list of clients or client: [samples]")


def _read_text(path: Path) -> str:
    try:
        return regular(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not UTF-8 text: {error.reason}") from error


def _whole(value: object, at: str) -> int:
    """Return an integer that fits into 64 bits."""
    text = str(value)
    try:
        number = int(text) if len(text) < MAX_DIGITS else None
    except ValueError:
        number = None
    if number is None:
        shown = shortened(repr(value))
        raise ValueError(f"{at}: must be a whole number, got {shown}")
    return number


def shortened(text: str) -> str:
    """Return a text cut to 60 characters, for messages."""
    return text if len(text) <= 60 else text[:57] + "..."
