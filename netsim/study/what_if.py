"""Runs of a study, or one run, again under factors: their times to the targets."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from netsim.cosim.reuse import verdicts
from netsim.cosim.scenario import Scenario
from netsim.cosim.workers import Executor
from netsim.errors import InputError
from netsim.learner.stop import Target
from netsim.runs.manifest import read_manifest
from netsim.runs.run import load_run
from netsim.scenario import UserCode, scenario_digest
from netsim.study.design import Combination
from netsim.study.factors import AS_IT_IS, DRAW, Factors
from netsim.study.frames import Study, read_frame, write_frame
from netsim.study.order import range_lines, sensitivity_lines
from netsim.study.outcomes import outcomes
from netsim.study.plan import PlannedRun
from netsim.study.run import endings, job_of
from netsim.study.work import Host

FILE, FOLDER = "what-if.parquet", "what-if"
KEYS = ("variant", "seed", "target")
KINDS = {
    "factors": "str",
    "variant": "str",
    "seed": "int64",
    "target": "str",
    "is_reached": "boolean",
    "time_ns": "Int64",
    "scenario": "str",  # its digest
}


@dataclass(frozen=True, slots=True)
class WhatIf:
    """Finished runs that are asked again, and the folder of what they answer."""

    folder: Path
    runs: Sequence[PlannedRun]
    targets: Sequence[Target]
    code: UserCode

    @property
    def baselines(self) -> dict[str, str]:
        """Return what each variant is compared with."""
        return {r.combination.label: r.combination.baseline for r in self.runs}

    def cost(self, sets: Sequence[Factors]) -> str:
        """Return in one line how many runs there will be, and what they train."""
        steps = sum(
            manifest.steps_trained + manifest.steps_reused
            for run in self.runs
            for manifest in [read_manifest(run.folder)]
            for factors in sets
            if any(
                verdict.effect != "nothing"
                for verdict in verdicts(run.scenario, factors.of(run.scenario))
            )
        )
        trained = "nothing is trained that this machine remembers"
        if steps:
            trained = f"up to {steps} steps are trained, since time decides who merges"
        return f"{len(sets)} x {len(self.runs)} runs with other factors: {trained}"

    def carry_out(
        self,
        sets: Sequence[Factors],
        executor: Executor[Host],
        tell: Callable[[str], None],
    ) -> pd.DataFrame:
        """Return the runs' times under every set and as they are; what an earlier call
        has found is kept. Raise ``InputError`` where a run fails."""
        base = self._as_they_are()
        table = pd.concat([base, self._known(base)], ignore_index=True)
        for factors in sets:
            missing = [r for r in self.runs if not _has(table, factors, r)]
            rows = list(self._found(factors, missing, executor))
            table = pd.concat([table, _frame(rows)], ignore_index=True)
            write_frame(table, self.folder / FILE)
            tell(factors.name)
        shutil.rmtree(self.folder / FOLDER, ignore_errors=True)
        return table

    def _found(
        self,
        factors: Factors,
        runs: Sequence[PlannedRun],
        executor: Executor[Host],
    ) -> Iterator[dict[str, object]]:
        places = [self.folder / FOLDER / str(number) for number in range(len(runs))]
        asked = [factors.of(run.scenario) for run in runs]
        for place in places:
            shutil.rmtree(place, ignore_errors=True)  # what a killed call has left
        jobs = [
            job_of(scenario, run.base_folder, place, self.code)
            for scenario, run, place in zip(asked, runs, places, strict=True)
        ]
        for index, ending in endings(executor, jobs):
            if ending.status == "failed":
                title = f"{runs[index].title}, {factors.name}"
                raise InputError(f"{title}: {ending.reason}")
            yield from _rows(factors, runs[index], places[index], self.targets)
            shutil.rmtree(places[index])

    def _as_they_are(self) -> pd.DataFrame:
        return _frame(
            row
            for run in self.runs
            for row in _rows(Factors(AS_IT_IS), run, run.folder, self.targets)
        )

    def _known(self, base: pd.DataFrame) -> pd.DataFrame:
        """Return what an earlier call has found of these runs and targets."""
        if not (self.folder / FILE).exists():
            return _frame([])
        table = read_frame(self.folder / FILE)
        keys = [*KEYS, "scenario"]
        is_base = table["factors"] == AS_IT_IS
        same = table[is_base][keys].merge(base[keys])[list(KEYS)]
        return table[~is_base].merge(same)


def run_alone(scenario: Scenario, folder: Path, base_folder: Path) -> PlannedRun:
    """Return a run that is no study's as one that may be asked again."""
    alone = Combination({}, (), scenario.name, scenario.name)
    return PlannedRun(alone, scenario, 0, folder, base_folder)


def draws_of(folder: Path, target: str, time_ns: int) -> dict[str, float]:
    """Return a run's seconds to a target by draw, as an earlier call has found them;
    nothing where the run is now another."""
    if not (folder / FILE).exists():
        return {}
    table = read_frame(folder / FILE)
    rows = table[table["target"] == target].set_index("factors")["time_ns"]
    if rows.get(AS_IT_IS) != time_ns:
        return {}
    return {str(n): int(t) / 1e9 for n, t in rows.items() if str(n).startswith(DRAW)}


def answers(study: Study) -> list[str]:
    """Return what an earlier call has found of a study's times and order, in words;
    nothing of runs that are now others."""
    if not (study.folder / FILE).exists():
        return []
    table = read_frame(study.folder / FILE)
    own = table[table["factors"] == AS_IT_IS].set_index(list(KEYS))["time_ns"]
    now = study.table.set_index(list(KEYS))["time_ns"]
    alike = {target for target, times in own.groupby("target") if times.isin(now).all()}
    table = table[table["target"].isin(alike)]
    is_draw = table["factors"].str.startswith(DRAW)
    is_own = table["factors"] == AS_IT_IS
    baselines = dict(zip(study.table["variant"], study.table["baseline"], strict=True))
    lines: list[str] = []
    if (~is_draw & ~is_own).any():
        lines += sensitivity_lines(table[~is_draw], baselines)
    if is_draw.any():
        lines += range_lines(table[is_draw | is_own], baselines)
    return lines


def _has(table: pd.DataFrame, factors: Factors, run: PlannedRun) -> bool:
    digest = scenario_digest(factors.of(run.scenario))
    found = table[
        (table["factors"] == factors.name) & (table["seed"] == run.scenario.seed)
    ]
    return bool((found["scenario"] == digest).any())


def _rows(
    factors: Factors, run: PlannedRun, folder: Path, targets: Sequence[Target]
) -> Iterator[dict[str, object]]:
    for outcome in outcomes(load_run(folder), targets):
        yield {
            "factors": factors.name,
            "variant": run.combination.label,
            "seed": run.scenario.seed,
            "target": outcome.target,
            "is_reached": outcome.is_reached,
            "time_ns": outcome.time_ns,
            "scenario": scenario_digest(factors.of(run.scenario)),
        }


def _frame(rows: Iterable[Mapping[str, object]]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=list(KINDS)).astype(KINDS)
