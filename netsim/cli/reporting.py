"""``netsim report``: a run or a study as one page for a browser."""

from __future__ import annotations

from pathlib import Path

import typer

from netsim.errors import InputError
from netsim.report import write_report


def report_command(folder: Path, out: Path | None) -> None:
    """Write the report of a folder and say where it is."""
    if not folder.is_dir():
        raise InputError(f"no run or study at {folder}: there is no such folder")
    path = write_report(folder, out)
    num_mb = path.stat().st_size / 1e6
    typer.echo(f"{path}: {num_mb:.1f} MB; open it in a browser, it needs no network")
