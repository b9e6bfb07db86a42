"""There when a file says so."""

from __future__ import annotations

import csv
import functools
import os
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from netsim.availability.periodic import Span
from netsim.availability.presence import Interval
from netsim.core.clock import MAX_NS, NS_PER_S, to_ns
from netsim.errors import InputError
from netsim.scenario.record import Record
from netsim.scenario.traits import Traits

COLUMNS = ["client_id", "start", "end"]


def _placed(value: str, info: ValidationInfo) -> str:
    """Return the absolute path of a file beside the scenario that is being read."""
    folder = (info.context or {}).get("folder") or Path()
    return os.path.abspath(folder / Path(value).expanduser())


class Recorded(Record):
    """A CSV with the columns client_id, start and end, in s: a row per interval in
    which the client is there, in order. A client without a row is never there; after
    ``lap`` all of it comes again, else nobody comes back after their last row."""

    traits: ClassVar[Traits] = {"comes-and-goes": ""}
    kind: Literal["trace"] = "trace"
    path: Annotated[str, Field(min_length=1), AfterValidator(_placed)]
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
        everybody = self._rows()
        span_ns = max(rows[-1][1] for rows in everybody.values())
        if self.lap_s is not None:
            span_ns = to_ns(self.lap_s)
        own = everybody.get(client_id, ())
        return sum(end_ns - start_ns for start_ns, end_ns in own) / span_ns

    def _rows(self) -> Mapping[int, tuple[Interval, ...]]:
        return read_intervals(Path(self.path))


@functools.lru_cache(maxsize=16)
def read_intervals(path: Path) -> Mapping[int, tuple[Interval, ...]]:
    """Return the intervals of a file by client, in ticks; it is read once."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"'{path}' cannot be read: {error}") from error
    found: dict[int, list[Interval]] = {}
    for number, cells in enumerate(csv.reader(text.splitlines()), start=1):
        if not cells or (number == 1 and [c.strip() for c in cells] == COLUMNS):
            continue
        try:
            client_id, interval = _interval(cells)
            rows = found.setdefault(client_id, [])
            if rows and interval[0] < rows[-1][1]:
                raise InputError(f"client {client_id} is there already at its start")
        except InputError as error:
            raise InputError(f"'{path}', line {number}: {error}") from error
        rows.append(interval)
    if not found:
        raise InputError(f"'{path}' has no row: nobody would ever be there")
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
