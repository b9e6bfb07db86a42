"""``netsim timeline``: a run as a picture for Perfetto."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from netsim.cli.options import RunArg
from netsim.runs.manifest import read_manifest
from netsim.timeline import write_timeline

FILE_NAME = "timeline.json.gz"


def timeline(
    run: RunArg,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The file, compressed if it ends in .gz; the run's "
            "timeline.json.gz by default."
        ),
    ] = None,
) -> None:
    """Write a run as a picture for Perfetto or Chrome: who did what, and when."""
    path = run / FILE_NAME if out is None else out
    num_events = write_timeline(run, path)
    status = read_manifest(run).status
    if status != "complete":
        typer.echo(
            f"note: the run is {status}: its tables end at different moments", err=True
        )
    typer.echo(f"{path}: {num_events} events; open it in ui.perfetto.dev")
