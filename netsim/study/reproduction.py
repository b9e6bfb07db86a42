"""How an outsider makes one row of a study again, and what must come out."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

import pandas as pd

from netsim.core.quantities import format_duration_ns
from netsim.runs.manifest import read_manifest
from netsim.study.plan import PlannedRun, StudyPlan


def recipes(
    name: str, plan: StudyPlan, table: pd.DataFrame, overrides: Sequence[str]
) -> Iterator[str]:
    """Yield for each combination of a finished study, with its first seed, the command
    that runs it alone with its baseline, what that costs, and its rows of the table."""
    seed = plan.config.seeds[0]
    for run in plan.runs:
        if run.scenario.seed != seed:
            continue
        choice = run.combination.choice
        axes = [axis for axis in plan.config.axes if len(axis.labels) > 1]
        words = [f"{axis.title}={choice[axis.title]}" for axis in axes]
        only = [word for text in words for word in ("--only", text)]
        sets = [word for text in overrides for word in ("--set", text)]
        yield shlex.join(["netsim", "study", name, *sets, *only, "--seeds", str(seed)])
        yield f"  about {_cpu_s(plan, run):.0f} CPU s"
        own = table[table["variant"] == run.combination.label]
        for _, row in own[own["seed"] == seed].iterrows():
            yield f"  {_expected(row)}"


def _cpu_s(plan: StudyPlan, run: PlannedRun) -> float:
    """Return the CPU seconds of a run and its baseline from nothing: of those that
    learn the same the first trains, as the study's first did."""
    labels = (run.combination.label, run.combination.baseline)
    alike = [one for one in plan.runs if one.scenario.seed == run.scenario.seed]
    first = {one.group: one for one in reversed(alike)}
    total, trained = 0.0, set[int]()
    for one in alike:
        if one.combination.label in labels:
            made = one if one.group in trained else first[one.group]
            trained.add(one.group)
            total += read_manifest(made.folder).cpu_s
    return total


def _expected(row: pd.Series) -> str:
    """Return a row of the table in words."""
    if not row["is_reached"]:
        met = f"{row['target']}: not met in {format_duration_ns(int(row['time_ns']))}"
    else:
        met = f"{row['target']} after {format_duration_ns(int(row['time_ns']))}"
    parts = [f"{met}, {row['rounds']} rounds"]
    if not pd.isna(row["final_accuracy"]):
        parts.append(f"accuracy {row['final_accuracy']:.4f} at the end")
    return ", ".join([*parts, f"digest {row['digest'][:12]}"])
