"""Mobility from a file of times and places."""

from __future__ import annotations

import csv
import functools
import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field, model_validator

from netsim.core.clock import MAX_NS, to_ns
from netsim.core.quantities import Seconds
from netsim.errors import InputError
from netsim.mobility.path import Paths, Place
from netsim.scenario.file_path import FilePath, read_text
from netsim.scenario.record import Record

COLUMNS = ("client_id", "time", "x", "y")


class Sample(NamedTuple):
    """A client's place at a tick."""

    time_ns: int
    x_m: float
    y_m: float


class Recorded(Record):
    """A CSV of ``client_id,time,x,y`` in seconds and metres; it replaces ``placement``.

    The rows of a client are in the order of time. Places between two rows are
    interpolated linearly; before the first and after the last row the client stands
    still."""

    kind: Literal["file"] = "file"
    path: FilePath
    interval_s: Annotated[Seconds, Field(ge=1e-3)]
    has_places: ClassVar[bool] = True
    corners_m: ClassVar[tuple[Place, ...]] = ()

    @model_validator(mode="after")
    def _check_file(self) -> Recorded:
        read_samples(Path(self.path))
        return self

    def paths(self, num_clients: int, starts: Sequence[Place], seed: int) -> Paths:
        samples = read_samples(Path(self.path))
        for client_id in range(num_clients):
            if client_id not in samples:
                raise InputError(
                    f"population.mobility: '{self.path}' has no row of client "
                    f"{client_id}; each of the {num_clients} needs one"
                )
        return RecordedPaths(samples)


class RecordedPaths:
    """The recorded paths."""

    def __init__(self, samples: Mapping[int, tuple[Sample, ...]]) -> None:
        self._samples = samples
        self._times = {n: [m.time_ns for m in own] for n, own in samples.items()}

    def at(self, client_id: int, now_ns: int) -> Place:
        samples = self._samples[client_id]
        index = bisect_right(self._times[client_id], now_ns)
        before, after = (
            samples[max(index - 1, 0)],
            samples[min(index, len(samples) - 1)],
        )
        if not before.time_ns < now_ns < after.time_ns:
            last = before if before.time_ns <= now_ns else after
            return last.x_m, last.y_m
        part = (now_ns - before.time_ns) / (after.time_ns - before.time_ns)
        return (
            before.x_m + (after.x_m - before.x_m) * part,
            before.y_m + (after.y_m - before.y_m) * part,
        )


@functools.lru_cache(maxsize=4)
def read_samples(path: Path) -> dict[int, tuple[Sample, ...]]:
    """Return a file's samples by client id; it is read once per process."""
    found: dict[int, list[Sample]] = {}
    for number, client_id, sample in _rows(path, read_text(path)):
        own = found.setdefault(client_id, [])
        if own and sample.time_ns <= own[-1].time_ns:
            raise InputError(
                f"'{path}', line {number}: the times of client {client_id} must "
                f"increase, got {sample.time_ns / 1e9:g} s after "
                f"{own[-1].time_ns / 1e9:g} s"
            )
        own.append(sample)
    if not found:
        raise InputError(f"'{path}' has no row of {','.join(COLUMNS)}")
    return {client_id: tuple(own) for client_id, own in found.items()}


def _rows(path: Path, text: str) -> Iterator[tuple[int, int, Sample]]:
    for number, words in enumerate(csv.reader(text.splitlines()), start=1):
        row = tuple(word.strip() for word in words)
        if not row or (number == 1 and row == COLUMNS):
            continue
        try:
            yield number, *_row(row)
        except ValueError as error:
            raise InputError(f"'{path}', line {number}: {error}") from error


def _row(row: tuple[str, ...]) -> tuple[int, Sample]:
    if len(row) != len(COLUMNS):
        raise ValueError(f"must have the values {','.join(COLUMNS)}, got {len(row)}")
    if not (row[0].isascii() and row[0].isdigit()):
        raise ValueError(f"client_id must be a whole number from 0, got {row[0]!r}")
    time_s, x_m, y_m = map(float, row[1:])
    if not (0 <= time_s < MAX_NS / 1e9 and math.isfinite(x_m) and math.isfinite(y_m)):
        raise ValueError(
            f"time must be 0 s or more, x and y finite, got {','.join(row[1:])}"
        )
    return int(row[0]), Sample(to_ns(time_s), x_m, y_m)
