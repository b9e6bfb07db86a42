"""Files of measured capacity: mahimahi packet opportunities, or rates over time."""

from __future__ import annotations

import csv
import functools
import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import groupby, pairwise
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from netsim.channel.capacity import CapacityTable, Step
from netsim.core.clock import MAX_NS, to_ns
from netsim.core.quantities import Seconds
from netsim.core.streams import uniform
from netsim.errors import InputError
from netsim.scenario.file_path import read_text

PACKET_BITS = 1500 * 8  # per opportunity of mahimahi
NS_PER_MS = 1_000_000

Format = Literal["mahimahi", "csv"]
Offset = Annotated[Seconds, Field(ge=0, le=1e9)] | Literal["random"]
Rate = tuple[int, int, Fraction]  # from and to in ns, bit/s between


def offset_ns(
    offset_s: float | Literal["random"], period_ns: int, seed: int, name: str | int
) -> int:
    """Return a trace's offset within its period at time zero, given or drawn, in ns."""
    if offset_s == "random":
        num_ms = -(-period_ns // NS_PER_MS)
        return int(uniform(seed, "trace-offset", name) * num_ms) * NS_PER_MS
    return to_ns(offset_s) % period_ns


def read_capacity(path: Path, form: Format, band_hz: float) -> CapacityTable:
    """Return a file's capacity as the efficiency of a band of ``band_hz``, rounded to
    1e-9 bit/s/Hz; a process reads a file again only if it has changed."""
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"'{path}' cannot be read: {error}") from error
    state = (status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size)
    return _read(path, form, band_hz, state)


@functools.lru_cache(maxsize=64)
def _read(
    path: Path, form: Format, band_hz: float, state: tuple[int, ...]
) -> CapacityTable:
    text = read_text(path)
    try:
        rates = list(mahimahi_rates(text) if form == "mahimahi" else csv_rates(text))
    except InputError as error:
        raise InputError(f"'{path}', {error}") from error
    steps = [
        Step(start_ns, end_ns, round(rate_bps * 10**9 / Fraction(band_hz)))
        for start_ns, end_ns, rate_bps in rates
    ]
    if not any(step.efficiency_nbit for step in steps):
        raise InputError(f"'{path}' has no capacity: every rate is zero")
    return CapacityTable(steps)


def mahimahi_rates(text: str) -> Iterator[Rate]:
    """Yield the rates of one period of a mahimahi trace (Netravali et al., USENIX ATC
    2015): each line is an opportunity to send one packet of 1500 bytes, in ms.

    The packets of a timestamp are spread over the millisecond that ends there, so the
    capacity is exact at every whole millisecond. A timestamp of zero counts as one. The
    period ends at the last timestamp.
    """
    last_ms = 0
    for time_ms, packets in groupby(_timestamps_ms(text)):
        if time_ms - 1 > last_ms:
            yield last_ms * NS_PER_MS, (time_ms - 1) * NS_PER_MS, Fraction(0)
        rate_bps = Fraction(sum(1 for _ in packets) * PACKET_BITS * 1000)
        yield (time_ms - 1) * NS_PER_MS, time_ms * NS_PER_MS, rate_bps
        last_ms = time_ms


def csv_rates(text: str) -> Iterator[Rate]:
    """Yield the rates of one period of a table with the columns time (s) and rate
    (bit/s). A rate holds until the next row, the last one as long as the one before.

    A header line is skipped; time counts from the first row.
    """
    rows = list(_csv_rows(text))
    if len(rows) < 2:
        raise InputError(f"needs at least two rows of time and rate, got {len(rows)}")
    origin_s = rows[0][0]
    ticks = [math.floor((time_s - origin_s) * 10**9) for time_s, _ in rows]
    ticks.append(2 * ticks[-1] - ticks[-2])
    if ticks[-1] > MAX_NS:
        raise InputError(f"lasts longer than {MAX_NS} ns, the limit of a run")
    for (start_ns, end_ns), (_, rate_bps) in zip(pairwise(ticks), rows, strict=True):
        yield start_ns, end_ns, rate_bps


def _timestamps_ms(text: str) -> Iterator[int]:
    last_ms = 0
    for number, line in enumerate(text.splitlines(), start=1):
        word = line.strip()
        if not (word.isascii() and word.isdigit() and len(word) < 13):
            raise InputError(
                f"line {number}: must be a whole number of milliseconds, got"
                f" {word[:40]!r}; is it `format: csv`?"
            )
        if int(word) < last_ms:
            raise InputError(
                f"line {number}: must not be before the {last_ms} ms of the line above,"
                f" got {word} ms"
            )
        last_ms = int(word)
        yield max(last_ms, 1)
    if not last_ms:
        raise InputError("must go beyond 0 ms: it has no opportunity to send")


def _csv_rows(text: str) -> Iterator[tuple[Fraction, Fraction]]:
    before: Fraction | None = None
    for number, cells in enumerate(_cells(text), start=1):
        if not cells or (number == 1 and _is_header(cells)):
            continue
        if len(cells) != 2:
            raise InputError(
                f"line {number}: must have two columns, time in s and rate in bit/s,"
                f" got {len(cells)}"
            )
        time_s, rate_bps = (_number(cell, number) for cell in cells)
        if before is not None and time_s - before < Fraction(1, 10**9):
            raise InputError(
                f"line {number}: must be at least 1 ns after the {float(before):g} s"
                f" above, got {cells[0].strip()} s"
            )
        if rate_bps < 0:
            raise InputError(
                f"line {number}: a rate must not be negative, got {cells[1].strip()}"
            )
        before = time_s
        yield time_s, rate_bps


def _cells(text: str) -> Iterator[list[str]]:
    reader = csv.reader(text.splitlines())
    try:
        yield from reader
    except csv.Error as error:
        raise InputError(f"line {reader.line_num}: {error}") from error


def _is_header(cells: list[str]) -> bool:
    return [cell.strip() for cell in cells] in (
        ["time", "rate"],
        ["time_s", "rate_bps"],
    )


def _number(cell: str, line: int) -> Fraction:
    """Return a decimal number as an exact fraction."""
    word = cell.strip()
    try:
        if len(word) < 40 and math.isfinite(float(word)):
            return Fraction(word)
    except ValueError:
        pass
    raise InputError(f"line {line}: must be a number, got {word[:40]!r}")
