"""``netsim merge-study``: every merge on the same client updates, side by side."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Annotated

import pandas as pd
import pyarrow as pa
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from netsim.cli import completing
from netsim.cli.options import AllowCodeOption, JsonOption, QuietOption, RunArg
from netsim.cli.writing import write_table
from netsim.core.files import write_atomically
from netsim.core.quantities import format_quantity
from netsim.cosim.commands.merge_study import MergeStudy, compare_merges
from netsim.errors import InputError
from netsim.report.libraries import NOT_INSTALLED, altair_if_installed
from netsim.report.spreadsheet import to_csv

HOST_FOLDER = "host"
FILES = {
    "errors": "merge-study.parquet",
    "merges": "merge-study-rounds.csv",
    "methods": "merge-study.csv",
}
PICTURE = "merge-study.svg"
SMALLEST_DRAWN = 1e-9  # exact merges miss by round-off, which a log axis cannot end at
ERROR_NOTE = (
    "errors: of what is sent, relative to W* = sum w B A, means over layers and rounds "
    "but for the worst; of update: relative to W* less the adapter before; bits: one "
    "participant's"
)
TABLE_WIDTH = 110  # narrower screens wrap its lines
ERRORS = ("mean", "worst", "first", "middle", "last")


def merge_study(
    run: RunArg,
    rounds: Annotated[
        str | None, typer.Option(metavar="N,N-M,…", help="Only these rounds.")
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|MODULE:CLASS,…",
            help="Only these methods.",
            autocompletion=completing.methods,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to write; the run's host/ by default.")
    ] = None,
    evaluate: Annotated[
        bool, typer.Option("--evaluate", help="Evaluate every merged model.")
    ] = False,
    allow_code: AllowCodeOption = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Compare all merge methods on the same client updates, those of a finished run."""
    study = compare_merges(
        run,
        rounds=None if rounds is None else read_rounds(rounds),
        methods=None if methods is None else [m.strip() for m in methods.split(",")],
        evaluate=evaluate,
        allow_code=allow_code,
        say=lambda line: typer.echo(line, err=True),
    )
    folder = run / HOST_FOLDER if out is None else out
    _write(study, folder)
    picture = _picture(study, folder)
    if not quiet:
        width = max(Console().width, TABLE_WIDTH)
        _show(Console(soft_wrap=True, highlight=False, width=width), study)
        typer.echo(f"errors  {folder / FILES['errors']}")
        typer.echo(f"merges  {folder / FILES['merges']}")
        typer.echo(f"methods {folder / FILES['methods']}")
        typer.echo(picture)
    if json:
        typer.echo(json_format.dumps(_summary(study, folder)))


def read_rounds(text: str) -> list[int]:
    """Return the round ids of ``1,5-8``."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise InputError(
                f"--rounds: must be round ids, such as 1,5-8, got {part.strip()!r}"
            )
        found += range(int(first), int(last or first) + 1)
    if not found:
        raise InputError(f"--rounds: must name a round, got {text!r}")
    return found


def _write(study: MergeStudy, folder: Path) -> None:
    errors = pa.Table.from_pandas(study.errors, preserve_index=False)
    write_table(errors, folder / FILES["errors"])
    for name, frame in (("merges", study.merges), ("methods", study.methods)):
        write_atomically(folder / FILES[name], to_csv(frame).encode())


def _show(console: Console, study: MergeStudy) -> None:
    console.print(_table(study))
    console.print(ERROR_NOTE)
    for row in study.methods.to_dict("records"):
        if row["status"] != "compared":
            line = f"{row['method']}: {row['status']}, {row['reason']}"
            console.print(line, markup=False)
    if not study.is_same:
        console.print(
            "note: the simulation came out otherwise than recorded (other versions or "
            "another machine); the figures are those of today"
        )
    console.print(
        f"{len(study.rounds)} rounds · {study.steps_trained} steps trained, "
        f"{study.steps_reused} reused"
    )


def _table(study: MergeStudy) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("method", no_wrap=True)
    is_judged = bool(study.methods["mean_accuracy"].notna().any())
    scores = ("accuracy",) if is_judged else ()
    for heading in (*ERRORS, "of update", *scores, "up", "down", "host s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in study.methods.to_dict("records"):
        errors = [row[f"{name}_error"] for name in (*ERRORS, "mean_update")]
        table.add_row(
            str(row["method"]),
            *("" if pd.isna(error) else f"{error:.1e}" for error in errors),
            *(_share(row[f"mean_{name}"]) for name in scores),
            *(_bits(row[f"{way}_bits"]) for way in ("upload", "download")),
            f"{row['host_s']:.3f}" if row["status"] == "compared" else "",
        )
    return table


def _share(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.3f}"


def _bits(value: float) -> str:
    return format_quantity(value, "bit", num_digits=3)


def _summary(study: MergeStudy, folder: Path) -> dict[str, object]:
    rows = study.methods.astype(object).where(study.methods.notna(), None)
    return {
        "folder": str(folder),
        "rounds": list(study.rounds),
        "steps_trained": study.steps_trained,
        "steps_reused": study.steps_reused,
        "same": study.is_same,
        "methods": rows.to_dict("records"),
    }


def _picture(study: MergeStudy, folder: Path) -> str:
    """Draw error and traffic side by side, where altair is installed."""
    altair = altair_if_installed()
    if altair is None:
        return f"picture {NOT_INSTALLED}"
    compared = study.methods[study.methods["status"] == "compared"]
    base = altair.Chart(altair.Data(values=_drawn(compared)), width=320).encode(
        altair.Y("method:N", sort=compared["method"].tolist(), title=None)
    )
    error_axis = altair.X(
        "error:Q",
        title="relative error of the merge: mean, and the worst layer",
        scale=altair.Scale(type="log"),
        axis=altair.Axis(format=".0e", tickCount=8),
    )
    points = base.mark_circle(size=60, color="#0072B2").encode(error_axis)
    worst = base.mark_tick(color="#E69F00").encode(x="worst:Q")
    bits = base.mark_bar(color="#009E73").encode(
        altair.X("bits:Q", title="bits up and down, one participant")
    )
    (points + worst | bits).save(str(folder / PICTURE))
    return f"picture {folder / PICTURE}"


def _drawn(compared: pd.DataFrame) -> list[dict[str, object]]:
    return [
        {
            "method": row["method"],
            "error": max(row["mean_error"], SMALLEST_DRAWN),
            "worst": max(row["worst_error"], SMALLEST_DRAWN),
            "bits": row["upload_bits"] + row["download_bits"],
        }
        for row in compared.to_dict("records")
    ]
