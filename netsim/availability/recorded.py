"""Availability from a file."""

from __future__ import annotations

import csv
import functools
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from netsim.availability.periodic import Span
from netsim.availability.presence import Interval
from netsim.core.clock import MAX_NS, NS_PER_S, to_ns
from netsim.errors import InputError
from netsim.scenario.file_path import FilePath, read_text
from netsim.scenario.record import Record
from netsim.scenario.traits import Traits

COLUMNS = ["client_id", "start", "end"]


class Recorded(Record):
    """A CSV with the columns client_id, start and end, in s: one row per interval in
    which the client is available, in order. A client without a row is never available.
    The file repeats every ``lap``; without it a client stays away after its last
    row."""

    traits: ClassVar[Traits] = {"comes-and-goes": ""}
    kind: Literal["trace"] = "trace"
    path: FilePath
    lap_s: Span | None = None

    @model_validator(mode="after")
    def _check_file(self) -> Self:
        last_ns = max(rows[-1][1] for rows in self._rows().values())
        if self.lap_s is not None and last_ns > to_ns(self.lap_s):
            raise InputError(
                f"lap must not end before the last row, {last_ns / NS_PER_S:g} s, "
                f"got {self.lap_s:g} s"
            )
        return self

    def intervals(self, seed: int, client_id: int, since_ns: int) -> Iterator[Interval]:
        rows = self._rows().get(client_id, ())
        if self.lap_s is None or not rows:
            yield from rows
            return
        lap_ns = to_ns(self.lap_s)
        offset_ns = since_ns // lap_ns * lap_ns
        while offset_ns < MAX_NS:
            for start_ns, end_ns in rows:
                yield offset_ns + start_ns, offset_ns + end_ns
            offset_ns += lap_ns

    def share(self, client_id: int) -> float:
        all_rows = self._rows()
        span_ns = max(rows[-1][1] for rows in all_rows.values())
        if self.lap_s is not None:
            span_ns = to_ns(self.lap_s)
        own = all_rows.get(client_id, ())
        return sum(end_ns - start_ns for start_ns, end_ns in own) / span_ns

    def _rows(self) -> Mapping[int, tuple[Interval, ...]]:
        return read_intervals(Path(self.path))


@functools.lru_cache(maxsize=16)
def read_intervals(path: Path) -> Mapping[int, tuple[Interval, ...]]:
    """Return a file's intervals by client id, in ns; it is read once per process."""
    found: dict[int, list[Interval]] = {}
    for number, cells in enumerate(csv.reader(read_text(path).splitlines()), start=1):
        if not cells or (number == 1 and [c.strip() for c in cells] == COLUMNS):
            continue
        try:
            client_id, interval = _interval(cells)
            rows = found.setdefault(client_id, [])
            if rows and interval[0] < rows[-1][1]:
                raise InputError(f"overlaps the row before of client {client_id}")
        except InputError as error:
            raise InputError(f"'{path}', line {number}: {error}") from error
        rows.append(interval)
    if not found:
        raise InputError(f"'{path}' has no row: no client would ever be available")
    return {client_id: tuple(rows) for client_id, rows in found.items()}


def _interval(cells: list[str]) -> tuple[int, Interval]:
    words = [cell.strip() for cell in cells]
    if len(words) != len(COLUMNS) or not (words[0].isascii() and words[0].isdigit()):
        raise InputError(
            f"must be a client_id, a start and an end in s, got {', '.join(words)!r}"
        )
    try:
        start, end = (Fraction(word) * NS_PER_S for word in words[1:])
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(f"start and end must be numbers of s: {error}") from error
    if not 0 <= start <= end - 1 <= MAX_NS - 1:
        raise InputError(
            f"start and end must increase from 0 s on, got {words[1]}, {words[2]}"
        )
    return int(words[0]), (round(start), round(end))
