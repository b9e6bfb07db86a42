"""A run as a trace-event file for Perfetto."""

from __future__ import annotations

import gzip
import heapq
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO, TextIO, TypeAlias, cast

from netsim.core.files import require_own, whole_file
from netsim.runs.manifest import Manifest
from netsim.runs.run import load_run, server_kind, stream_rows
from netsim.timeline.counters import Buffer, write_bands, write_score
from netsim.timeline.slices import (
    Group,
    grouped,
    grouped_by_edge,
    write_crossing,
    write_event,
    write_flight,
    write_group,
    write_transfer,
)
from netsim.timeline.trace_events import Args, TraceEvents
from netsim.timeline.tracks import Tracks
from netsim.trace import rows

__all__ = ["write_timeline"]

Message: TypeAlias = rows.Transfer | rows.Crossing
MARK = b'{"traceEvents":[\n{"ph":"M","pid":1,"name":"process_name"'  # of our files
GZIP_LEVEL = 4  # twice as fast as the usual one, a tenth longer


def write_timeline(run_folder: str | Path, path: str | Path) -> int:
    """Write a run's timeline, compressed if the name ends in ``.gz``, and return its
    number of events; tables are read and written in parts."""
    run, target = load_run(run_folder), Path(path)
    require_own(target, MARK)
    target.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(target) as binary, _text(binary, target) as text:
        events = TraceEvents(text)
        _write_tables(events, run.folder)
        events.close(_about(run.manifest))
    return events.num_events


def _write_tables(events: TraceEvents, folder: Path) -> None:
    tracks = Tracks(events, stream_rows(folder, rows.Client))
    tracks.server_pid()
    buffer = Buffer(events, tracks) if server_kind(folder) == "buffered" else None
    for group in _groups(folder):
        write_group(events, tracks, group)
        if buffer is not None:
            buffer.take(group.round, group.tasks)
    if buffer is not None:
        buffer.close()
    _write_messages(events, tracks, folder)
    write_bands(events, tracks, stream_rows(folder, rows.Band))
    for score in stream_rows(folder, rows.Evaluation):
        write_score(events, tracks, score)
    for event in stream_rows(folder, rows.Event):
        write_event(events, tracks, event)


def _groups(folder: Path) -> Iterator[Group]:
    """Return the rounds with their tasks, in the order of the tables."""
    rounds = stream_rows(folder, rows.Round)
    tasks = stream_rows(folder, rows.Task)
    if server_kind(folder) != "hierarchical":
        return grouped(rounds, tasks)
    num_cells = sum(1 for _ in stream_rows(folder, rows.Cell))
    return grouped_by_edge(rounds, tasks, num_cells)


def _write_messages(events: TraceEvents, tracks: Tracks, folder: Path) -> None:
    """Write transfers and backhaul messages in the order in which they ended."""
    aired: Iterator[Message] = stream_rows(folder, rows.Transfer)
    wired: Iterator[Message] = stream_rows(folder, rows.Crossing)
    arrivals = dict(stream_rows(folder, rows.Arrival))
    for row in heapq.merge(aired, wired, key=lambda row: row.end_ns):
        if isinstance(row, rows.Crossing):
            write_crossing(events, tracks, row)
            continue
        write_transfer(events, tracks, row)
        if (arrival_ns := arrivals.get(row.transfer_id)) is not None:
            write_flight(events, tracks, row, arrival_ns)


@contextmanager
def _text(binary: BinaryIO, path: Path) -> Iterator[TextIO]:
    """Open a text file; a compressed one holds neither time nor name."""
    if path.suffix != ".gz":
        text = TextIOWrapper(binary, encoding="utf-8", newline="\n")
        yield text
        text.flush()
        text.detach()
        return
    with (
        gzip.GzipFile("", "wb", GZIP_LEVEL, binary, mtime=0) as packed,
        TextIOWrapper(cast(BinaryIO, packed), "utf-8", newline="\n") as text,
    ):
        yield text


def _about(manifest: Manifest) -> Args:
    return {
        "run": manifest.name,
        "status": manifest.status,
        "digest": manifest.digest,
        "seed": manifest.seed,
        "netsim": manifest.versions.get("netsim", ""),
    }
