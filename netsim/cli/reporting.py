"""``netsim report``: a run or a study as one page for a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from netsim.errors import InputError
from netsim.report import write_report


def report(
    folder: Annotated[
        Path, typer.Argument(metavar="RUN_OR_STUDY", help="The folder of either.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="The file; report.html in the folder.")
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write every chart there too, as SVG."),
    ] = None,
) -> None:
    """Write a run or a study as one page for a browser: what happened, and why."""
    if pictures is not None and pictures.exists() and not pictures.is_dir():
        raise InputError(f"--pictures {pictures} is a file, not a folder")
    if not folder.is_dir():
        raise InputError(f"no run or study at {folder}: there is no such folder")
    path = write_report(folder, out, pictures=pictures)
    num_mb = path.stat().st_size / 1e6
    typer.echo(f"{path}: {num_mb:.1f} MB; open it in a browser, it needs no network")
