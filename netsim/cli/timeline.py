"""``netsim timeline``: a run as a picture for Perfetto."""

from __future__ import annotations

from pathlib import Path

import typer

from netsim.runs.manifest import read_manifest
from netsim.timeline import write_timeline

FILE_NAME = "timeline.json.gz"


def timeline_command(run: Path, out: Path | None) -> None:
    """Write a run's timeline and say where it is and what opens it."""
    path = run / FILE_NAME if out is None else out
    num_events = write_timeline(run, path)
    status = read_manifest(run).status
    if status != "complete":
        typer.echo(
            f"note: the run is {status}: its tables end at different moments", err=True
        )
    typer.echo(f"{path}: {num_events} events; open it in ui.perfetto.dev")
