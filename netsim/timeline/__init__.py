"""A run as a picture that one can walk through: a trace-event file for Perfetto."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from netsim.errors import InputError
from netsim.manifest import Manifest
from netsim.runs import load_run, server_kind, stream_rows
from netsim.timeline.counters import Buffer, write_bands, write_score
from netsim.timeline.slices import (
    grouped,
    write_event,
    write_flight,
    write_group,
    write_transfer,
)
from netsim.timeline.trace_events import Args, TraceEvents
from netsim.timeline.tracks import Tracks
from netsim.trace import rows
from netsim.trace.files import whole_file

__all__ = ["write_timeline"]

GZIP_LEVEL = 4  # twice as fast as the usual one, a tenth longer


def write_timeline(run_folder: str | Path, path: str | Path) -> int:
    """Write a run's timeline, compressed if the name ends in ``.gz``, and return its
    number of events; tables are read and written bit by bit."""
    run, target = load_run(run_folder), Path(path)
    if target.is_dir():
        raise InputError(f"--out: must be a file, got the folder {target}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(target) as binary, _text(binary, target) as text:
        events = TraceEvents(text)
        _write_tables(events, run.folder)
        events.close(_about(run.manifest))
    return events.num_events


def _write_tables(events: TraceEvents, folder: Path) -> None:
    tracks = Tracks(events, stream_rows(folder, "clients", rows.Client))
    tracks.server_pid()
    buffer = Buffer(events, tracks) if server_kind(folder) == "buffered" else None
    for group in grouped(
        stream_rows(folder, "rounds", rows.Round),
        stream_rows(folder, "tasks", rows.Task),
    ):
        write_group(events, tracks, group)
        if buffer is not None:
            buffer.take(group.round, group.tasks)
    if buffer is not None:
        buffer.close()
    arrivals = dict(stream_rows(folder, "arrivals", rows.Arrival))
    for transfer in stream_rows(folder, "transfers", rows.Transfer):
        write_transfer(events, tracks, transfer)
        if (arrival_ns := arrivals.get(transfer.transfer_id)) is not None:
            write_flight(events, tracks, transfer, arrival_ns)
    write_bands(events, tracks, stream_rows(folder, "bands", rows.Band))
    for score in stream_rows(folder, "evals", rows.Evaluation):
        write_score(events, tracks, score)
    for event in stream_rows(folder, "events", rows.Event):
        write_event(events, tracks, event)


@contextmanager
def _text(binary: BinaryIO, path: Path) -> Iterator[TextIO]:
    """Open a file for text; one that is compressed names no time and no file."""
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
