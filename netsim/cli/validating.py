"""``netsim validate``: predicted against observed steps of the catalogue's devices."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from netsim.cli.options import CHECK_FAILED
from netsim.devices.validation import (
    Comparison,
    committed_errors,
    comparisons,
    table,
    worse,
)


def validate(
    out: Annotated[
        Path | None, typer.Option(help="A CSV file for every setting.")
    ] = None,
) -> None:
    """Compare predicted with observed steps; fail where one errs more than before."""
    rows = comparisons()
    by_device: dict[tuple[str, ...], list[Comparison]] = defaultdict(list)
    for row in rows:
        by_device[row.device, row.basis, row.role, row.group].append(row)
    for (device, basis, role, group), found in by_device.items():
        errors = [row.error for row in found]
        typer.echo(
            f"{device:<30} {basis:<8} {role:<8} {group:<20} {len(found):>3} settings  "
            f"error median {median(errors):.2f}, worst {max(errors):.2f}"
        )
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(table(rows), encoding="utf-8")
        typer.echo(f"table  {out}")
    if found_worse := worse(rows, committed_errors()):
        for line in found_worse:
            typer.echo(line, err=True)
        raise typer.Exit(CHECK_FAILED)
    typer.echo(f"{len(rows)} comparisons, none over 5 % worse than committed")
