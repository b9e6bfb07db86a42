"""``netsim study``: many runs, and one line per variant on what they show."""

from __future__ import annotations

import json as json_format
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

import typer
from rich.console import Console

from netsim.cli import study_picture
from netsim.cli.asking import show_range, show_sensitivity
from netsim.cli.live import PLAIN_LINE_EVERY_S, LiveView
from netsim.cli.options import (
    CHECK_FAILED,
    AllowCodeOption,
    AtOnceOption,
    DryRunOption,
    GpusOption,
    JsonLinesOption,
    JsonOption,
    QuietOption,
    RangeOption,
    RayOption,
    user_code,
)
from netsim.cli.spectators import JsonLines
from netsim.core.quantities import format_duration_ns
from netsim.cosim.shipped import find_study
from netsim.cosim.workers import Workers
from netsim.errors import InputError, Interrupted
from netsim.learner.stop import Stop
from netsim.server.stage import Progress
from netsim.study.frames import Study
from netsim.study.plan import Instead, PlannedRun, StudyPlan, plan_study
from netsim.study.reproduction import recipes
from netsim.study.run import RESULTS, carry_out
from netsim.study.what_if import WhatIf
from netsim.study.work import Ending

MAX_GROUPS_SHOWN = 8


def study(
    study: Annotated[
        str, typer.Argument(help="A YAML file, or the name of a shipped study.")
    ],
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="PATH=VALUE", help="Override in all runs; axes come after."
        ),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="N,N,…", help="Instead of the study's.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="AXIS=NAME", help="One variant of an axis, with its baselines."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The study folder itself.")] = None,
    workers: AtOnceOption = None,
    ray: RayOption = None,
    gpus: GpusOption = 0.0,
    dry_run: DryRunOption = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
    json_lines: JsonLinesOption = False,
    allow_code: AllowCodeOption = False,
    mixed_code: Annotated[
        bool,
        typer.Option(
            "--mixed-code",
            help="Keep finished runs of other code, marked in the table.",
        ),
    ] = False,
    sensitivity: Annotated[
        bool,
        typer.Option(
            "--sensitivity",
            help="Then halve and double efficiency, band, jitter: does the order stay?",
        ),
    ] = False,
    with_range: RangeOption = False,
    reproduce: Annotated[
        bool,
        typer.Option(
            "--reproduce",
            help="Then print for each row the command that makes it again, its CPU "
            "seconds, and what to expect.",
        ),
    ] = False,
) -> None:
    """Run a study, many variants and seeds, or go on with it; say who is faster."""
    instead = Instead(tuple(set_ or ()), read_seeds(seeds), read_only(only or ()))
    code = user_code(allow_code)
    plan = plan_study(find_study(study), RESULTS, out, instead=instead, code=code)
    for line in overview(plan):
        typer.echo(line, err=quiet or json_lines)
    if dry_run:
        return
    reporter = _Reporter(Console(stderr=True), plan, quiet)
    if json_lines:
        reporter.lines = JsonLines(sys.stdout)
    who = Workers(workers, ray, gpus)
    done = _carried_out(plan, who, reporter, mixed_code=mixed_code)
    if not json_lines:
        _show(done, reporter.failed, is_quiet=quiet)
    if json or json_lines:
        typer.echo(json_format.dumps(_summary(done, plan, reporter.failed)))
    if reporter.failed:
        raise typer.Exit(CHECK_FAILED)
    if reproduce:
        for line in recipes(study, plan, done.table, set_ or ()):
            typer.echo(line)
    _ask(plan, who, sensitivity=sensitivity, with_range=with_range)


def _ask(plan: StudyPlan, who: Workers, *, sensitivity: bool, with_range: bool) -> None:
    """Run a finished study again under other factors."""
    asked = WhatIf(plan.folder, plan.runs, plan.config.targets, plan.code)
    if sensitivity:
        show_sensitivity(asked, who)
    if with_range:
        show_range(asked, who)


def read_seeds(text: str | None) -> tuple[int, ...]:
    """Return the seeds of ``1,2,3``; none if it is empty."""
    if text is None:
        return ()
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise InputError(f"--seeds {text}: must be whole numbers, as 1,2,3")
    return tuple(map(int, parts))


def read_only(texts: Sequence[str]) -> dict[str, str]:
    """Return the variant of each axis of ``axis=name`` texts."""
    found: dict[str, str] = {}
    for text in texts:
        axis, equals, name = text.partition("=")
        if not equals or not axis or not name:
            raise InputError(f"--only {text}: must be of the form axis=name")
        if axis in found:
            raise InputError(f"--only {text}: axis {axis!r} is named twice")
        found[axis] = name
    return found


def _carried_out(
    plan: StudyPlan, workers: Workers, reporter: _Reporter, *, mixed_code: bool
) -> Study:
    """Run the study; say how an interrupted one goes on."""
    watch = None if reporter.is_quiet else Spectator.of(plan)
    try:
        return carry_out(
            plan, workers=workers, watch=watch, tell=reporter, mixed_code=mixed_code
        )
    except KeyboardInterrupt as error:
        reporter.console.print("interrupted; the same command goes on with it")
        raise Interrupted from error


def overview(plan: StudyPlan) -> list[str]:
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
    lines.append(f"  {_work_left(plan)}")
    return [*lines, f"folder {plan.folder}"]


def _work_left(plan: StudyPlan) -> str:
    """Return how many of the runs that are not finished train, and how many reuse."""
    missing = [run for run in plan.runs if not run.is_finished]
    if not missing:
        return "nothing is left to run"
    learning = [r for r in missing if "learns" in r.scenario.learning.traits]
    if not learning:
        return f"{len(missing)} runs, none of which trains"
    leading = {run.folder for run in plan.leaders()}
    num_training = sum(run.folder in leading for run in learning)
    num_reusing = len(learning) - num_training
    has_finished = len(missing) < len(plan.runs)
    source = "what is learned by then" if has_finished else "what these have learned"
    return f"{num_training} runs train, {num_reusing} reuse {source}"


@dataclass
class _Reporter:
    """Says on stderr how every run ended, and how long the others may take."""

    console: Console
    plan: StudyPlan
    is_quiet: bool
    failed: list[PlannedRun] = field(default_factory=list)
    lines: JsonLines | None = None
    _far_hosts: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        missing = [run for run in self.plan.runs if not run.is_finished]
        leading = {run.folder for run in self.plan.leaders()}
        self._num_ended, self._num_missing = 0, len(missing)
        self._left = TimeLeft(
            {run.folder: run.folder in leading for run in missing}, time.perf_counter()
        )

    def __call__(self, run: PlannedRun, ending: Ending) -> None:
        self._num_ended += 1
        self._left.note(run.folder, time.perf_counter())
        if self.lines is not None:
            self.lines.write("run", self._event(run, ending))
        self._announce(ending.far_host)
        if ending.status == "failed":
            self.failed.append(run)
        elif self.is_quiet:
            return
        line = self._line(run, ending)
        self.console.print(line, highlight=False, soft_wrap=True, markup=False)

    def _announce(self, far_host: str) -> None:
        """Say it of a machine when its first run comes back."""
        if far_host and far_host not in self._far_hosts:
            self._far_hosts.add(far_host)
            line = (
                f"{far_host} does not see this folder: its runs are sent back, and it "
                "reuses only what was learned there"
            )
            self.console.print(line, highlight=False, soft_wrap=True, markup=False)

    def _event(self, run: PlannedRun, ending: Ending) -> dict[str, object]:
        return {
            "variant": run.combination.label,
            "seed": run.scenario.seed,
            "run": str(run.folder),
            **{key: value for key, value in asdict(ending).items() if key != "packed"},
            "num_ended": self._num_ended,
            "num_missing": self._num_missing,
        }

    def _line(self, run: PlannedRun, ending: Ending) -> str:
        head = f"{self._num_ended}/{self._num_missing} {run.title}"
        if ending.status == "failed":
            return f"{head}: failed, {ending.reason}"
        parts = [
            f"{ending.rounds} rounds",
            f"{format_duration_ns(ending.sim_time_ns)} simulated",
            f"{ending.steps_trained} steps trained, {ending.steps_reused} reused",
        ]
        left_s = self._left.estimate_s()
        if left_s is not None:
            parts.append(f"{format_duration_ns(round(left_s * 1e9))} left")
        return f"{head}: {' · '.join(parts)}"


@dataclass
class TimeLeft:
    """How long the other runs may take, those that train and those that reuse apart.

    Runs that reuse come after all that train, so each kind is paced by its own.
    """

    trains: dict[Path, bool]  # by the folder of every missing run
    started_s: float
    _paces_s: dict[bool, list[float]] = field(
        default_factory=lambda: {True: [], False: []}
    )
    REUSING_SHARE: ClassVar[float] = 0.15  # of a run's time, until one has ended

    def note(self, folder: Path, now_s: float) -> None:
        """Note that a run has ended."""
        self._paces_s[self.trains.pop(folder)].append(now_s)

    def estimate_s(self) -> float | None:
        """Return the seconds that are left; None when nothing is."""
        if not self.trains:
            return None
        training, reusing = self._pace_s(True), self._pace_s(False)
        if reusing is None:
            reusing = (training or 0.0) * self.REUSING_SHARE
        num_training = sum(self.trains.values())
        num_reusing = len(self.trains) - num_training
        return num_training * (training or reusing) + num_reusing * reusing

    def _pace_s(self, is_training: bool) -> float | None:
        """Return the seconds between two ends of a kind of run, on average."""
        ends_s = self._paces_s[is_training]
        if not ends_s:
            return None
        before_s = [self.started_s, *self._paces_s[True]] if not is_training else []
        first_s = max(before_s, default=self.started_s)
        return (ends_s[-1] - first_s) / len(ends_s)


@dataclass(frozen=True, slots=True)
class Spectator:
    """Says now and then how far each run is, from whichever process is at it."""

    seen: Mapping[Path, tuple[str, Stop]]  # a run's title and end, by its folder

    @classmethod
    def of(cls, plan: StudyPlan) -> Spectator:
        """Return the spectator of a study's runs."""
        return cls({r.folder.resolve(): (r.title, r.scenario.stop) for r in plan.runs})

    def __call__(self, folder: Path) -> Callable[[Progress], None]:
        title, stop = self.seen[folder]
        console = Console(stderr=True)
        view = LiveView(console, stop, title, is_quiet=True)
        shown_s = time.perf_counter()

        def show(progress: Progress) -> None:
            nonlocal shown_s
            view(progress)
            now_s = time.perf_counter()
            if now_s - shown_s >= PLAIN_LINE_EVERY_S:
                shown_s = now_s
                line = f"  {title}: {view.line(now_s)}"
                console.print(line, highlight=False, soft_wrap=True, markup=False)

        return show


def _show(study: Study, failed: list[PlannedRun], *, is_quiet: bool) -> None:
    if not is_quiet:
        for line in study.sentences:
            typer.echo(line)
    if marked := study.table.other_code.fillna("").ne("").sum():
        typer.echo(f"{marked} rows are of other code: column other_code of the table")
    if failed:
        typer.echo(f"{len(failed)} runs failed; the same command tries them again")
    typer.echo(f"study {study.folder}")
    if not is_quiet:
        typer.echo(f"picture {study_picture.draw(study)}")


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
