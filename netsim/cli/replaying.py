"""``netsim replay``: does a recorded scenario give the recorded trace again."""

from __future__ import annotations

import json as json_format
import tempfile
from pathlib import Path

import typer

from netsim.cli.options import (
    CHECK_FAILED,
    AllowCodeOption,
    FreshOption,
    JsonOption,
    OutOption,
    QuietOption,
    RunArg,
    SetOption,
    WorkersOption,
    overrides,
    user_code,
)
from netsim.cli.running import run_and_show, summary
from netsim.cosim.inputs import changed
from netsim.cosim.reading import read_scenario
from netsim.cosim.replay import first_difference, own_edits, recorded_scenario
from netsim.cosim.workers import Workers
from netsim.runs.manifest import SCENARIO_FILE, edited, has_known_code, read_manifest


def replay(
    run: RunArg,
    set_: SetOption = None,
    out: OutOption = None,
    fresh: FreshOption = False,
    workers: WorkersOption = None,
    quiet: QuietOption = False,
    json: JsonOption = False,
    allow_code: AllowCodeOption = False,
) -> None:
    """Run a run's scenario again; without --set the digest must come out the same.

    With --set it says first which changes need new training.
    """
    code = user_code(allow_code)
    scenario = recorded_scenario(run, overrides(set_), code)
    if set_:
        if own := own_edits(run, scenario):
            typer.echo(own, err=True)
        run_and_show(
            scenario,
            out,
            fresh=fresh,
            workers=Workers(workers),
            quiet=quiet,
            json=json,
            before=read_scenario(run / SCENARIO_FILE, (), code),
        )
        return
    with tempfile.TemporaryDirectory(prefix="netsim-replay-") as scratch:
        folder = out if out is not None else Path(scratch) / "run"
        replayed = run_and_show(
            scenario, folder, fresh=fresh, workers=Workers(workers), quiet=True
        )
        same = _compare(run, folder)
        if json:
            typer.echo(json_format.dumps({**summary(replayed, folder), "same": same}))
    if not same:
        raise typer.Exit(CHECK_FAILED)


def _compare(run: Path, folder: Path) -> bool:
    """Print whether a replay gave the recorded digest, and return it."""
    recorded, replayed = read_manifest(run), read_manifest(folder)
    if recorded.digest != replayed.digest:
        typer.echo(f"{run} does not replay: {first_difference(run, folder)}")
        for path in (*changed(recorded), *edited(recorded.inputs, replayed.inputs)):
            typer.echo(f"{path} is no longer what it was when the run was made")
        if not has_known_code(recorded):
            typer.echo("the run lists no modules: it is of unknown code")
        elif recorded.inputs == replayed.inputs:
            typer.echo("code and inputs are equal: does a class draw without a seed?")
        return False
    typer.echo(
        f"{run} replays to the same digest {recorded.digest[:16]} "
        f"({replayed.steps_trained} steps trained, {replayed.steps_reused} reused)"
    )
    return True
