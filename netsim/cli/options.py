"""The arguments and options that commands have in common."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from netsim.cli import completing

if TYPE_CHECKING:
    from netsim.scenario.permission import UserCode  # brings pydantic

DONE, CHECK_FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130  # exit codes

ScenarioArg = Annotated[
    str,
    typer.Argument(
        help="A YAML file, or the name of a shipped scenario.",
        autocompletion=completing.scenarios,
    ),
]
RunArg = Annotated[Path, typer.Argument(help="The folder of a run.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Override one value; repeatable.",
        autocompletion=completing.settings,
    ),
]
SeedOption = Annotated[int | None, typer.Option(help="Override the scenario's seed.")]
OutOption = Annotated[Path | None, typer.Option(help="The run folder itself.")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Make the last line of stdout one JSON object.")
]
JsonLinesOption = Annotated[
    bool,
    typer.Option(
        "--json-lines",
        help="Write a line of JSON to stdout at every event; the last is --json's.",
    ),
]
FreshOption = Annotated[
    bool, typer.Option(help="Train again what an earlier run has trained already.")
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        min=1, help="Train in this many processes, 1 by default; same results."
    ),
]
AtOnceOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="The number of runs at a time, 1 by default; the results are the same.",
    ),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Check it and say what would run.")
]
RayOption = Annotated[
    str | None,
    typer.Option(
        metavar="auto|ADDRESS",
        help="On a Ray cluster: RAY_ADDRESS or the one that runs here, else one of "
        "this machine's processors. As many workers as it has free ones.",
    ),
]
GpusOption = Annotated[
    float, typer.Option(min=0.0, help="With --ray: what a worker reserves, as 0.25.")
]
AllowCodeOption = Annotated[
    bool,
    typer.Option(
        "--allow-code",
        help="Run classes from the scenario's folder, wherever it is.",
    ),
]
WithBaseOption = Annotated[
    bool,
    typer.Option(
        "--with-base", help="Copy a pre-trained base model into the run's adapter/base."
    ),
]
RangeOption = Annotated[
    bool,
    typer.Option(
        "--range", help="Then draw how far the devices err: the range of the times."
    ),
]
QuietOption = Annotated[bool, typer.Option(help="Show no progress and no table.")]


def user_code(allows_given: bool = False) -> UserCode:
    """Return the permission to import a user's classes; each is named once, on stderr,
    before its module runs."""
    from netsim.scenario.permission import announcing

    return announcing(partial(typer.echo, err=True), allows_given=allows_given)


def overrides(given: list[str] | None, seed: int | None = None) -> tuple[str, ...]:
    """Return what ``--set`` and ``--seed`` change, each as ``path=value``."""
    return (*(given or ()), *(() if seed is None else (f"seed={seed}",)))
