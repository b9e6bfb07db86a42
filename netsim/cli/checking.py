"""``netsim check`` and ``netsim verify``: is a scenario right, is a run sound."""

from __future__ import annotations

import json as json_format
from pathlib import Path

import typer

from netsim.cosim.reading import read_scenario
from netsim.cosim.scenario import Scenario
from netsim.cosim.shipped import find_scenario
from netsim.scenario import dump

MAX_FINDINGS_SHOWN = 20
MAX_DRAWN_CLIENTS = 10_000  # a check answers at once


def check_command(
    given: str,
    overrides: tuple[str, ...],
    *,
    count: bool,
    partition: Path | None = None,
) -> None:
    """Validate a scenario, print it in full and estimate what it costs."""
    from netsim.cosim.cost import estimate
    from netsim.cosim.policy_setup import build_planner
    from netsim.cosim.world import build_population

    scenario = read_scenario(find_scenario(given), overrides)
    typer.echo(dump(scenario), nl=False)
    if scenario.policy is not None:  # also where nothing is counted
        scenario.policy.require_files(scenario.population.num_clients)
    learner = scenario.learning.known_learner(
        scenario.population.num_clients, scenario.seed, may_count=count
    )
    if learner is not None and scenario.population.num_clients <= MAX_DRAWN_CLIENTS:
        population = build_population(scenario, learner)  # what a run would refuse
        build_planner(scenario, learner, population)
    for line in estimate(scenario, learner):
        typer.echo(f"# {line}")
    if partition is not None:
        _write_partition(scenario, partition)


def _write_partition(scenario: Scenario, folder: Path) -> None:
    """Write who holds how many samples of which label, as a table and a picture."""
    import pyarrow.parquet as pq

    from netsim.cli.partition_picture import draw
    from netsim.cosim.commands.partition import partition_table

    table = partition_table(scenario)
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / "partition.parquet")
    typer.echo(f"# partition  {folder / 'partition.parquet'}")
    typer.echo(f"# picture    {draw(table, folder / 'partition.svg')}")


def verify_command(run: Path, *, json: bool) -> bool:
    """Audit a run, print what is wrong with it, and return whether it is sound."""
    from netsim.runs.manifest import read_manifest
    from netsim.verify import verify

    findings = verify(run)
    status = read_manifest(run).status
    for finding in findings[:MAX_FINDINGS_SHOWN]:
        typer.echo(str(finding))
    if len(findings) > MAX_FINDINGS_SHOWN:
        typer.echo(f"and {len(findings) - MAX_FINDINGS_SHOWN} more findings")
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
    return is_sound
