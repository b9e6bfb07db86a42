"""``netsim study``: many runs, and one line per variant on what they show."""

from __future__ import annotations

import json as json_format
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import typer
from rich.console import Console

from netsim.cli.live import PLAIN_LINE_EVERY_S, LiveView
from netsim.cli.spectators import JsonLines
from netsim.cosim.shipped import find_study
from netsim.cosim.study import RESULTS, Ending, carry_out
from netsim.cosim.study_plan import PlannedRun, StudyPlan, plan_study
from netsim.protocol.stage import Progress
from netsim.protocol.stop import Stop
from netsim.quantities import format_duration_ns
from netsim.study import Study

MAX_GROUPS_SHOWN = 8


def study_command(
    given: str,
    out: Path | None,
    *,
    workers: int,
    dry_run: bool,
    quiet: bool,
    json: bool,
    json_lines: bool = False,
) -> bool:
    """Run a study from the command line; return whether all runs are finished. With
    ``json_lines`` stdout has a line of JSON per run and nothing but that."""
    plan = plan_study(find_study(given), RESULTS, out)
    for line in foretold(plan):
        typer.echo(line, err=quiet or json_lines)
    if dry_run:
        return True
    teller = _Teller(
        Console(stderr=True), sum(not run.is_finished for run in plan.runs), quiet
    )
    if json_lines:
        teller.lines = JsonLines(sys.stdout)
    study = _carried_out(plan, workers, teller)
    if not json_lines:
        _show(study, teller.failed, is_quiet=quiet)
    if json or json_lines:
        typer.echo(json_format.dumps(_summary(study, plan, teller.failed)))
    return not teller.failed


def _carried_out(plan: StudyPlan, workers: int, teller: _Teller) -> Study:
    """Run the study; say how an interrupted one goes on."""
    watch = None if teller.is_quiet else Spectator.of(plan)
    try:
        return carry_out(plan, workers=workers, watch=watch, tell=teller)
    except KeyboardInterrupt:
        teller.console.print("interrupted; the same command goes on with it")
        raise


def foretold(plan: StudyPlan) -> list[str]:
    """Return how many runs there are, which share learning, how many are finished."""
    num_done = sum(run.is_finished for run in plan.runs)
    num_combinations = len(plan.runs) // len(plan.config.seeds)
    lines = [
        f"{plan.config.name}: {len(plan.runs)} runs, {num_combinations} combinations "
        f"with {len(plan.config.seeds)} seeds; {num_done} are finished"
    ]
    groups: dict[int, list[str]] = {}
    for run in plan.runs:
        if run.scenario.seed == plan.config.seeds[0]:
            groups.setdefault(run.group, []).append(run.combination.label)
    shared = [labels for labels in groups.values() if len(labels) > 1]
    for labels in shared[:MAX_GROUPS_SHOWN]:
        lines.append(f"  share learning, seed by seed: {'; '.join(labels)}")
    if len(shared) > MAX_GROUPS_SHOWN:
        lines.append(f"  and {len(shared) - MAX_GROUPS_SHOWN} more such groups")
    num_training = len(plan.leaders())
    lines.append(
        f"  {num_training} runs train, {len(plan.runs) - num_training} reuse what "
        "these have learned"
    )
    return [*lines, f"folder {plan.folder}"]


@dataclass
class _Teller:
    """Says on stderr how every run ended, and how long the others may take."""

    console: Console
    num_missing: int
    is_quiet: bool
    failed: list[PlannedRun] = field(default_factory=list)
    lines: JsonLines | None = None
    _num_ended: int = 0
    _started_s: float = field(default_factory=time.perf_counter)

    def __call__(self, run: PlannedRun, ending: Ending) -> None:
        self._num_ended += 1
        if self.lines is not None:
            self.lines.write("run", self._event(run, ending))
        if ending.status == "failed":
            self.failed.append(run)
        elif self.is_quiet:
            return
        line = self._line(run, ending)
        self.console.print(line, highlight=False, soft_wrap=True, markup=False)

    def _event(self, run: PlannedRun, ending: Ending) -> dict[str, object]:
        return {
            "variant": run.combination.label,
            "seed": run.scenario.seed,
            "run": str(run.folder),
            **asdict(ending),
            "num_ended": self._num_ended,
            "num_missing": self.num_missing,
        }

    def _line(self, run: PlannedRun, ending: Ending) -> str:
        head = f"{self._num_ended}/{self.num_missing} {run.title}"
        if ending.status == "failed":
            return f"{head}: failed, {ending.reason}"
        parts = [
            f"{ending.rounds} rounds",
            f"{format_duration_ns(ending.sim_time_ns)} simulated",
            f"{ending.steps_trained} steps trained, {ending.steps_reused} reused",
        ]
        num_left = self.num_missing - self._num_ended
        if num_left:
            taken_s = time.perf_counter() - self._started_s
            left_ns = round(taken_s / self._num_ended * num_left * 1e9)
            parts.append(f"{format_duration_ns(left_ns)} left")
        return f"{head}: {' · '.join(parts)}"


@dataclass(frozen=True, slots=True)
class Spectator:
    """Says now and then how far each run is, from whichever process is at it."""

    seen: Mapping[Path, tuple[str, Stop]]  # a run's title and end, by its folder

    @classmethod
    def of(cls, plan: StudyPlan) -> Spectator:
        """Return the spectator of a study's runs."""
        return cls({r.folder: (r.title, r.scenario.stop) for r in plan.runs})

    def __call__(self, folder: Path) -> Callable[[Progress], None]:
        title, stop = self.seen[folder]
        console = Console(stderr=True)
        view = LiveView(console, stop, title, is_quiet=True)
        said_s = time.perf_counter()

        def show(progress: Progress) -> None:
            nonlocal said_s
            view(progress)
            now_s = time.perf_counter()
            if now_s - said_s >= PLAIN_LINE_EVERY_S:
                said_s = now_s
                line = f"  {title}: {view.line(now_s)}"
                console.print(line, highlight=False, soft_wrap=True, markup=False)

        return show


def _show(study: Study, failed: list[PlannedRun], *, is_quiet: bool) -> None:
    if not is_quiet:
        for line in study.sentences:
            typer.echo(line)
    if failed:
        typer.echo(f"{len(failed)} runs failed; the same command tries them again")
    typer.echo(f"study {study.folder}")


def _summary(
    study: Study, plan: StudyPlan, failed: list[PlannedRun]
) -> dict[str, object]:
    rows = json_format.loads(study.summary.to_json(orient="records"))
    return {
        "study": str(study.folder),
        "runs": len(plan.runs),
        "failed": len(failed),
        "summary": rows,
    }
