"""What a run or a study answers under other factors, for a person."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pandas as pd
import typer

from netsim.cosim.scenario import Scenario
from netsim.cosim.workers import Workers
from netsim.scenario import UserCode
from netsim.study.factors import AS_IT_IS, HALVED_AND_DOUBLED, Factors, drawn
from netsim.study.order import range_lines, sensitivity_lines
from netsim.study.run import executor_of
from netsim.study.what_if import WhatIf, run_alone


def show_sensitivity(asked: WhatIf, workers: Workers) -> None:
    """Halve and double efficiency, band and jitter; print whether the order stays."""
    table = _answers(asked, HALVED_AND_DOUBLED, workers)
    for line in sensitivity_lines(table, asked.baselines):
        typer.echo(line)


def show_range(asked: WhatIf, workers: Workers) -> None:
    """Draw how far the devices err; print the ranges of the times, and whether the
    order stays."""
    sets = drawn(run.scenario for run in asked.runs)
    for line in range_lines(_answers(asked, sets, workers), asked.baselines):
        typer.echo(line)


def show_range_of_run(
    scenario: Scenario, base_folder: Path, code: UserCode, folder: Path
) -> None:
    """Print the range of the time to a finished run's target, or to its end."""
    targets = () if scenario.stop.target is None else (scenario.stop.target,)
    run = run_alone(scenario, folder, base_folder)
    show_range(WhatIf(folder, [run], targets, code), Workers(1))


def _answers(asked: WhatIf, sets: Sequence[Factors], workers: Workers) -> pd.DataFrame:
    typer.echo(asked.cost(sets), err=True)
    with closing(executor_of(workers, asked.folder)) as executor:
        table = asked.carry_out(sets, executor, lambda name: typer.echo(name, err=True))
    names = [AS_IT_IS, *(factors.name for factors in sets)]
    return table[table["factors"].isin(names)]
