"""``netsim compare``: runs side by side, and what their scenarios say differently."""

from __future__ import annotations

import json as json_format
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from pydantic import ValidationError
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from netsim.cli.options import JsonOption
from netsim.core.quantities import format_duration_ns, format_quantity
from netsim.devices.fitting import COVERAGE
from netsim.errors import InputError
from netsim.learner.stop import Target
from netsim.runs.manifest import edited, has_known_code, require_scenario
from netsim.runs.run import (
    Run,
    load_run,
    scenario_part,
    scenario_values,
)
from netsim.scenario.difference import num_alike, value_changes
from netsim.scenario.wording import describe
from netsim.study.factors import AS_IT_IS
from netsim.study.order import range_s, survival
from netsim.study.outcomes import Outcome, outcomes
from netsim.study.statistics import Sample
from netsim.study.what_if import draws_of

MAX_WIDTH = 10_000  # characters: what a table is measured in


def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="The folders of runs, one or more.")
    ],
    target: Annotated[
        list[str] | None,
        typer.Option(metavar="METRIC=LEVEL", help="As accuracy=0.9; repeatable."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show runs, one or several side by side: times to targets, bits, energy, what
    differs."""
    folders = tuple(runs)
    found_runs = [_complete(folder) for folder in folders]
    scenarios = [scenario_values(folder) for folder in folders]
    targets = [read_target(text) for text in target or ()] or _common_targets(folders)
    found = [[*outcomes(run, targets), *_at_end(run, targets)] for run in found_runs]
    differences = _differences(folders, scenarios)
    for run in found_runs[1:]:
        differences[str(run.folder)] += _other_code(found_runs[0], run)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for table in _tables(console, _names(folders), found_runs, found):
        console.print(table)
    for line in _orders(_names(folders), found_runs, found):
        console.print(line)
    for folder, lines in differences.items():
        shown = lines or ["the same scenario"]
        console.print(f"{folder} compared with {folders[0]}:")
        for line in shown:
            console.print(f"  {line}")
    if json:
        print(json_format.dumps(_report(found_runs, found, differences)))


def read_target(text: str) -> Target:
    """Return the target that ``metric=level`` names."""
    metric, equals, level = text.partition("=")
    try:
        value = float(level)
    except ValueError:
        value, equals = 0.0, ""
    if not equals:
        raise InputError(f"--target {text}: must be of the form accuracy=0.9")
    try:
        return Target.model_validate({"metric": metric.strip(), "level": value})
    except ValidationError as error:
        reasons = "; ".join(map(describe, error.errors(include_url=False)))
        raise InputError(f"--target {text}: {reasons}") from error


def _complete(folder: Path) -> Run:
    run = load_run(folder)
    if run.manifest.status != "complete":
        raise InputError(
            f"{folder} is {run.manifest.status}; finish it with `netsim run … --resume`"
        )
    require_scenario(folder, run.manifest)
    return run


def _common_targets(folders: Sequence[Path]) -> list[Target]:
    """Return the targets that the scenarios themselves have."""
    stops = (scenario_part(folder, "stop") for folder in folders)
    own = [_own_target(stop["target"]) for stop in stops if stop.get("target")]
    return list(dict.fromkeys(own))


def _own_target(written: object) -> Target:
    try:
        return Target.model_validate(written)
    except ValidationError as error:
        reasons = "; ".join(map(describe, error.errors(include_url=False)))
        raise InputError(f"stop.target: {reasons}") from error


def _at_end(run: Run, targets: Sequence[Target]) -> list[Outcome]:
    return outcomes(run, []) if targets else []


def _differences(
    folders: Sequence[Path], scenarios: Sequence[Mapping[str, object]]
) -> dict[str, list[str]]:
    """Return by folder how each scenario differs from the first."""
    return {
        str(folder): [str(change) for change in value_changes(scenarios[0], scenario)]
        for folder, scenario in zip(folders[1:], scenarios[1:], strict=True)
    }


def _other_code(first: Run, run: Run) -> list[str]:
    """Return the modules that differ from those of the first run, a line for each."""
    unknown = [one for one in (first, run) if not has_known_code(one.manifest)]
    found = edited(first.manifest.inputs, run.manifest.inputs)
    return [
        *(f"code: {path} differs" for path in found),
        *(f"code: {one.folder} lists no modules" for one in unknown),
    ]


def _names(folders: Sequence[Path]) -> list[str]:
    """Return the folders without what leads to all of them."""
    num_common = num_alike(*(folder.parent.parts for folder in folders))
    return [str(Path(*folder.parts[num_common:])) for folder in folders]


def _tables(
    console: Console,
    names: Sequence[str],
    runs: Sequence[Run],
    found: Sequence[Sequence[Outcome]],
) -> list[Table]:
    """Return one table, or several of fewer runs each, none wider than the console
    unless one run alone is."""
    unbounded = console.options.update(max_width=MAX_WIDTH)
    finals = list(dict.fromkeys(name for run in runs for name in run.manifest.final))
    for num_runs in range(len(runs), 0, -1):
        tables = [
            _table(names[some], runs[some], found[some], finals)
            for i in range(0, len(runs), num_runs)
            for some in [slice(i, i + num_runs)]
        ]
        widths = (Measurement.get(console, unbounded, one).maximum for one in tables)
        if max(widths) <= console.width:
            break
    return tables


def _table(
    names: Sequence[str],
    runs: Sequence[Run],
    found: Sequence[Sequence[Outcome]],
    finals: Sequence[str],
) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right", overflow="fold")
    for ends in zip(*found, strict=True):
        table.add_row(f"to {ends[0].target}", *map(_time, runs, ends))
        drawn = _draws(runs, ends)
        if any(drawn):
            table.add_row(f"  {COVERAGE:.0%} within", *map(_range, drawn))
        table.add_row("  rounds", *(str(end.rounds) for end in ends))
        table.add_row("  bits up", *(_bits(end.upload_bits) for end in ends))
        table.add_row("  bits down", *(_bits(end.download_bits) for end in ends))
        table.add_row("  energy", *(f"{end.energy_j:.4g} J" for end in ends))
    for name in finals:
        values = (run.manifest.final.get(name) for run in runs)
        table.add_row(
            f"final {name}", *("" if v is None else f"{v:.4g}" for v in values)
        )
    return table


def _draws(runs: Sequence[Run], ends: Sequence[Outcome]) -> list[dict[str, float]]:
    """Return each run's seconds by draw of its devices' errors, if known."""
    return [
        draws_of(run.folder, end.target, end.time_ns)
        for run, end in zip(runs, ends, strict=True)
    ]


def _range(drawn: Mapping[str, float]) -> str:
    if not drawn:
        return ""
    low, high = (format_duration_ns(round(s * 1e9)) for s in range_s([*drawn.values()]))
    return f"{low} to {high}"


def _orders(
    names: Sequence[str], runs: Sequence[Run], found: Sequence[Sequence[Outcome]]
) -> Iterator[str]:
    """Yield per target whether the runs' order survives their devices' errors, where
    the range of all is known."""
    for ends in zip(*found, strict=True):
        drawn = _draws(runs, ends)
        if all(drawn) and all(end.is_reached for end in ends):
            for one, end in zip(drawn, ends, strict=True):
                one[AS_IT_IS] = end.time_ns / 1e9
            of_sets = {
                factors: {
                    name: Sample(np.array([one[factors]]), np.array([True]))
                    for name, one in zip(names, drawn, strict=True)
                }
                for factors in drawn[0]
            }
            yield f"to {ends[0].target}: {survival(of_sets)}"


def _time(run: Run, end: Outcome) -> str:
    shown = format_duration_ns(end.time_ns)
    if end.is_reached:
        return shown
    return f"not in {shown}" if run.manifest.final else f"not scored in {shown}"


def _bits(bits: int) -> str:
    return format_quantity(bits, "bit", num_digits=3)


def _report(
    runs: Sequence[Run],
    found: Sequence[Sequence[Outcome]],
    differences: dict[str, list[str]],
) -> dict[str, object]:
    return {
        "runs": [
            {
                "run": str(run.folder),
                "outcomes": [asdict(end) for end in ends],
                "final": run.manifest.final,
                "differs": differences.get(str(run.folder), []),
            }
            for run, ends in zip(runs, found, strict=True)
        ]
    }
