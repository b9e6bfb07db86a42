"""The command that runs a Flower app on the network of a scenario."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from netsim.cli.options import (
    AllowCodeOption,
    FreshOption,
    GpusOption,
    JsonOption,
    OutOption,
    QuietOption,
    RayOption,
    SeedOption,
    SetOption,
    WorkersOption,
    overrides,
    user_code,
)
from netsim.cli.running import run_and_show
from netsim.cosim.commands.flower_app import app_scenario
from netsim.cosim.run import extended
from netsim.cosim.workers import Workers


def flower(
    app: Annotated[Path, typer.Argument(help="The folder of a Flower app.")],
    scenario: Annotated[
        str,
        typer.Option(
            "--scenario", help="The network: a YAML file, or a shipped scenario."
        ),
    ] = "network-only",
    run_config: Annotated[
        list[str] | None,
        typer.Option(
            "--run-config",
            metavar="NAME=VALUE",
            help="Override one setting of the app; repeatable.",
        ),
    ] = None,
    set_: SetOption = None,
    seed: SeedOption = None,
    out: OutOption = None,
    resume: Annotated[bool, typer.Option(help="Go on with the run in --out.")] = False,
    fresh: FreshOption = False,
    workers: WorkersOption = None,
    ray: RayOption = None,
    gpus: GpusOption = 0.0,
    quiet: QuietOption = False,
    json: JsonOption = False,
    allow_code: AllowCodeOption = False,
) -> None:
    """Run a Flower app, unchanged, on the network of a scenario.

    Server, learning and end of the scenario are replaced by the app's; `--set` changes
    them, such as `--set learning.compute.train.per_example=2ms`. The app ends the run.
    """
    code = replace(user_code(allow_code), app=app.resolve())
    given = overrides(set_, seed)
    config = app_scenario(app, scenario, run_config or (), given, code)
    before = extended(config, out, code) if resume and out is not None else None
    run_and_show(
        config,
        out,
        resume=resume,
        fresh=fresh,
        workers=Workers(workers, ray, gpus),
        quiet=quiet,
        json=json,
        before=before,
    )
