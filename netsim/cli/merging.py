"""``netsim merge``: adapter folders of PEFT become one."""

from __future__ import annotations

import json as json_format
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from netsim.cli import completing
from netsim.cli.options import JsonOption, QuietOption, user_code
from netsim.cosim.commands.merge import (
    LayerReport,
    MergeReport,
    ModelPrecision,
    Request,
    merge_as_asked,
)

TABLE_WIDTH = 100  # narrower screens wrap its lines
ERROR_NOTE = (
    "error: of the files, relative to W* = sum w B A; average's: of plain factor "
    "averaging; update's: relative to W* less the previous adapter"
)


def merge(
    adapters: Annotated[
        list[Path], typer.Argument(help="Adapter folders that PEFT saved.")
    ],
    out: Annotated[Path, typer.Option(help="The new adapter folder.")],
    method: Annotated[
        str,
        typer.Option(
            metavar="NAME|MODULE:CLASS",
            help="Such as thin-svd or fedex-lora; a wrong name lists all.",
            autocompletion=completing.methods,
        ),
    ] = "flora-na",
    weights: Annotated[
        str | None,
        typer.Option(metavar="W,W,…", help="As 0.5,0.3,0.2 or 1/3,1/3,1/3; equal."),
    ] = None,
    previous: Annotated[
        Path | None,
        typer.Option(help="The adapter before the round; gets 1 less all weights."),
    ] = None,
    with_model: Annotated[
        ModelPrecision | None,
        typer.Option(help="Also write base and adapter as one model into OUT/model."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="The method's own settings."),
    ] = None,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Merge PEFT adapter folders into one that PEFT loads."""
    request = Request(
        folders=tuple(adapters),
        out=out,
        method=method,
        overrides=tuple(set_ or ()),
        weights=weights,
        previous=previous,
        with_model=with_model,
        code=user_code(),
    )
    report = merge_as_asked(request)
    if not quiet:
        width = max(Console().width, TABLE_WIDTH)
        _show(Console(soft_wrap=True, highlight=False, width=width), report)
    if json:
        print(json_format.dumps(asdict(report)))


def _show(console: Console, report: MergeReport) -> None:
    console.print(_table(report))
    console.print(ERROR_NOTE)
    for note in report.notes:
        console.print(f"note: {note}", markup=False)
    if report.num_whole_tensors:
        console.print(f"{report.num_whole_tensors} tensors outside LoRA averaged")
    if report.previous_weight:
        console.print(f"previous adapter at weight {report.previous_weight:.6g}")
    console.print(f"merged by {report.method} into {report.folder}", markup=False)


def _table(report: MergeReport) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("layer")
    for heading in ("adapters", "rank", "fold", "error", "average's", "update's"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in report.layers:
        table.add_row(*_cells(row))
    total = (report.relative_error, report.average_relative_error)
    table.add_section()
    table.add_row("all", "", "", "", *(f"{error:.2e}" for error in total), "")
    return table


def _cells(row: LayerReport) -> list[str]:
    update = row.update_relative_error
    return [
        row.layer,
        str(row.num_components),
        str(row.rank),
        str(row.fold_rank or ""),
        f"{row.relative_error:.2e}",
        f"{row.average_relative_error:.2e}",
        "" if update is None else f"{update:.2e}",
    ]
