"""``netsim check`` and ``netsim verify``: is a scenario right, is a run sound."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Annotated

import typer

from netsim.cli import completing
from netsim.cli.options import (
    CHECK_FAILED,
    AllowCodeOption,
    JsonOption,
    RunArg,
    SeedOption,
    SetOption,
    overrides,
    user_code,
)
from netsim.cosim.reading import read_scenario
from netsim.cosim.scenario import Scenario
from netsim.cosim.shipped import find_scenario
from netsim.errors import InputError
from netsim.scenario import UserCode, dump

MAX_FINDINGS_SHOWN = 20
MAX_DRAWN_CLIENTS = 10_000  # a check answers at once


def check(
    scenario: Annotated[
        str | None,
        typer.Argument(
            help="A YAML file, or the name of a shipped scenario.",
            autocompletion=completing.scenarios,
        ),
    ] = None,
    set_: SetOption = None,
    seed: SeedOption = None,
    count: Annotated[
        bool, typer.Option(help="Count bits and FLOP on the real model (loads torch).")
    ] = False,
    partition: Annotated[
        Path | None,
        typer.Option(help="A folder for who holds which labels: Parquet and SVG."),
    ] = None,
    plug_in: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:CLASS",
            help="Try a class of your own: two rounds twice, every question twice.",
            autocompletion=completing.plug_ins,
        ),
    ] = None,
    seam: Annotated[
        str | None,
        typer.Option(
            help="With --plug-in: what the class is, as sharing.",
            autocompletion=completing.seams,
        ),
    ] = None,
    allow_code: AllowCodeOption = False,
) -> None:
    """Validate a scenario; print it with every default, and what it costs."""
    from netsim.cosim.cost import estimate
    from netsim.cosim.policy_setup import build_planner
    from netsim.cosim.world import build_population

    code = user_code(allow_code)
    if plug_in is not None:
        _try_plug_in(plug_in, seam, scenario, overrides(set_, seed), code)
        return
    if scenario is None:
        raise InputError("check: needs a SCENARIO, or --plug-in module:Class")
    config = read_scenario(find_scenario(scenario), overrides(set_, seed), code)
    typer.echo(dump(config), nl=False)
    if config.policy is not None:  # also where nothing is counted
        config.policy.require_files(config.population.num_clients)
    learner = config.learning.known_learner(
        config.population.num_clients, config.seed, may_count=count
    )
    if learner is not None and config.population.num_clients <= MAX_DRAWN_CLIENTS:
        population = build_population(config, learner)  # what a run would refuse
        build_planner(config, learner, population)
    for line in estimate(config, learner):
        typer.echo(f"# {line}")
    if partition is not None:
        _write_partition(config, partition)


def _try_plug_in(
    given: str,
    seam: str | None,
    scenario: str | None,
    settings: tuple[str, ...],
    code: UserCode,
) -> None:
    """Print the result of trying a user's own class."""
    from netsim.cosim.commands.plug_in import try_plug_in

    found = try_plug_in(
        given, seam=seam, scenario=scenario, overrides=settings, code=code
    )
    asked = ", ".join(f"{name} {times}" for name, times in found.asked.items())
    typer.echo(f"{found.kind} as {found.path}: two rounds of {found.scenario}, twice")
    typer.echo(f"asked: {asked or 'nothing'}")
    if found.never_asked:
        typer.echo(f"not asked here: {', '.join(found.never_asked)}")
    for line in found.wrong:
        typer.echo(line)
    if found.wrong:
        raise typer.Exit(CHECK_FAILED)
    typer.echo(f"keeps its contract; both runs have the digest {found.digest[:16]}")


def _write_partition(scenario: Scenario, folder: Path) -> None:
    """Write who holds how many samples of which label, as a table and a picture."""
    from netsim.cli.partition_picture import draw
    from netsim.cli.writing import write_table
    from netsim.cosim.commands.partition import partition_table

    table = partition_table(scenario)
    write_table(table, folder / "partition.parquet")
    typer.echo(f"# partition  {folder / 'partition.parquet'}")
    typer.echo(f"# picture    {draw(table, folder / 'partition.svg')}")


def verify(run: RunArg, json: JsonOption = False) -> None:
    """Audit a run: files, digests, and the physics of every transfer."""
    from netsim.runs.manifest import has_known_code, read_manifest
    from netsim.verify import audit

    findings, skipped = audit(run)
    manifest = read_manifest(run)
    status = manifest.status
    for finding in findings[:MAX_FINDINGS_SHOWN]:
        typer.echo(str(finding))
    if len(findings) > MAX_FINDINGS_SHOWN:
        typer.echo(f"and {len(findings) - MAX_FINDINGS_SHOWN} more findings")
    for one in skipped:
        typer.echo(f"not computed again: {one}")
    if not has_known_code(manifest):
        typer.echo("its manifest lists no modules: it was made by unknown code")
    is_sound = not findings and status == "complete"
    if is_sound:
        typer.echo(f"{run} is sound: files, digests, clock and books agree")
    elif not findings:
        typer.echo(
            f"{run} is {status}: what is there is intact, but only files and single "
            "rows could be checked; finish it with --resume"
        )
    if json:
        report = {"run": str(run), "sound": is_sound, "findings": len(findings)}
        typer.echo(json_format.dumps({**report, "status": status}))
    if not is_sound:
        raise typer.Exit(CHECK_FAILED)
