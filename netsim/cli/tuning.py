"""``netsim tune``: a search for the best settings, and what it found in one line."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from netsim.cli.options import (
    CHECK_FAILED,
    AllowCodeOption,
    AtOnceOption,
    DryRunOption,
    GpusOption,
    JsonOption,
    QuietOption,
    RayOption,
    user_code,
)
from netsim.cosim.shipped import find_tune
from netsim.cosim.workers import Workers
from netsim.errors import Interrupted
from netsim.tune.plan import TunePlan, plan_tune
from netsim.tune.run import BEST, RESULTS, TRIALS, carry_out_search
from netsim.tune.trials import TrialRow, best, sentence


def tune(
    search: Annotated[
        str, typer.Argument(help="A YAML file, or the name of a shipped search.")
    ],
    out: Annotated[Path | None, typer.Option(help="The search's folder.")] = None,
    workers: AtOnceOption = None,
    ray: RayOption = None,
    gpus: GpusOption = 0.0,
    dry_run: DryRunOption = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
    allow_code: AllowCodeOption = False,
) -> None:
    """Search settings for the best within limits, or go on with it.

    Exit code 1: no trial keeps to all limits.
    """
    plan = plan_tune(find_tune(search), RESULTS, out, code=user_code(allow_code))
    for line in _overview(plan):
        typer.echo(line, err=quiet)
    if dry_run:
        return
    console = Console(stderr=True)

    def tell(row: TrialRow) -> None:
        if not quiet:
            line = _line(row, plan)
            console.print(line, highlight=False, soft_wrap=True, markup=False)

    who = Workers(workers, ray, gpus)
    try:
        rows = carry_out_search(plan, workers=who, tell=tell)
    except KeyboardInterrupt as error:
        console.print("interrupted; the same command goes on with it")
        raise Interrupted from error
    typer.echo(sentence(rows, plan.config))
    typer.echo(f"trials {plan.folder / TRIALS}")
    found = best(rows, plan.config)
    if found is not None:
        typer.echo(f"best   {plan.folder / BEST}")
    if json:
        typer.echo(json_format.dumps(_summary(plan, rows, found)))
    if found is None:
        raise typer.Exit(CHECK_FAILED)


def _overview(plan: TunePlan) -> list[str]:
    config = plan.config
    num_runs = (config.trials + 1) * len(config.seeds)
    return [
        f"{config.name}: {config.trials} trials and the scenario as it is, with "
        f"{len(config.seeds)} seeds: {num_runs} runs at most",
        f"  searched: {', '.join(config.search)}",
        f"folder {plan.folder}",
    ]


def _line(row: TrialRow, plan: TunePlan) -> str:
    config = plan.config
    settings = ", ".join(f"{k}={v}" for k, v in (row.settings or {}).items())
    head = f"{row.trial}/{config.trials} {settings}"
    if row.status != "complete":
        return f"{head}: {row.status}, {row.reason}"
    kept = "" if row.is_feasible(config) else ", does not keep to it"
    return f"{head}: {config.measure} {row.value(config):.4g}{kept}"


def _summary(
    plan: TunePlan, rows: list[TrialRow], found: TrialRow | None
) -> dict[str, object]:
    return {
        "tune": str(plan.folder),
        "trials": len(rows) - 1,
        "feasible": sum(row.is_feasible(plan.config) for row in rows if row.trial),
        "best": None
        if found is None
        else {
            "trial": found.trial,
            "value": found.value(plan.config),
            "settings": found.settings,
            "scenario": str(plan.folder / BEST),
        },
    }
