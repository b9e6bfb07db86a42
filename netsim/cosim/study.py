"""A study run: several runs at a time, a table that grows with them, and a way back
into it after a kill."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import Literal

import pandas as pd

from fl.executor import Executor, Inline, Processes, WorkerDied
from netsim.cosim.run import run_scenario
from netsim.cosim.scenario import Scenario
from netsim.cosim.shipped import find_study
from netsim.cosim.study_plan import PlannedRun, StudyPlan, plan_study
from netsim.errors import InputError
from netsim.locks import LOCK_FILE, is_empty, locked
from netsim.manifest import FILE_NAME
from netsim.protocol.stage import Progress
from netsim.runs import load_run
from netsim.scenario import dump, load_text
from netsim.study.frames import Study, write_curves, write_summary, write_table
from netsim.study.outcomes import THE_END, curve, final_metrics, outcomes, target_name
from netsim.trace.files import write_atomically

RESULTS = Path("results") / "studies"
STUDY_FILE = "study.yaml"
PATIENCE_S = 60.0  # with a worker of a killed study that is about to notice

Status = Literal["complete", "failed"]
Watch = Callable[[Path], Callable[[Progress], None]]


@dataclass(frozen=True, slots=True)
class Ending:
    """How one run of a study ended; ``reason`` says why it failed."""

    status: Status
    reason: str = ""
    steps_trained: int = 0
    steps_reused: int = 0
    sim_time_ns: int = 0
    rounds: int = 0


@dataclass(frozen=True, slots=True)
class Job:
    """One run as a process is handed it: plain text, since a user's own class is
    found only from the folder of the base scenario."""

    scenario_text: str
    base_folder: Path
    folder: Path


@dataclass(frozen=True, slots=True)
class Host:
    """What a process needs to run parts of a study."""

    watch: Watch | None = None


@dataclass
class Tables:
    """The rows of the finished and failed runs, written in the study's own order."""

    plan: StudyPlan
    _rows: dict[Path, list[dict[str, object]]] = field(default_factory=dict)
    _curves: dict[Path, pd.DataFrame] = field(default_factory=dict)

    def add(self, run: PlannedRun, status: Status) -> None:
        """Add what a finished run on disk came to, or that a run has failed."""
        if status == "complete":
            self._add_finished(run)
        else:
            self._add_failed(run)

    def _add_finished(self, run: PlannedRun) -> None:
        found = load_run(run.folder)
        last = {
            "status": "complete",
            "end_ns": found.manifest.sim_time_ns,
            **final_metrics(found),
            "digest": found.manifest.digest,
        }
        self._rows[run.folder] = [
            {**_keys(run), **asdict(outcome), **last}
            for outcome in outcomes(found, self.plan.config.targets)
        ]
        shown = curve(found)
        for place, (name, value) in enumerate(_keys(run).items()):
            shown.insert(place, name, value)
        self._curves[run.folder] = shown

    def _add_failed(self, run: PlannedRun) -> None:
        names = [target_name(target) for target in self.plan.config.targets]
        self._rows[run.folder] = [
            {**_keys(run), "target": name, "status": "failed"}
            for name in names or [THE_END]
        ]

    def write(self) -> None:
        """Write table and curves as they are now."""
        order = [run.folder for run in self.plan.runs if run.folder in self._rows]
        rows = [row for folder in order for row in self._rows[folder]]
        axes = [axis.title for axis in self.plan.config.axes]
        write_table(self.plan.folder, axes, rows)
        curves = [self._curves[folder] for folder in order if folder in self._curves]
        write_curves(self.plan.folder, curves)


def _keys(run: PlannedRun) -> dict[str, str | int]:
    return {
        "variant": run.combination.label,
        **run.combination.choice,
        "baseline": run.combination.baseline,
        "seed": run.scenario.seed,
    }


def carry_out(
    plan: StudyPlan,
    *,
    workers: int = 1,
    watch: Watch | None = None,
    tell: Callable[[PlannedRun, Ending], None] = lambda run, ending: None,
) -> Study:
    """Run what is missing of a study and return it; finished runs are kept.

    ``watch`` returns, by the run's folder, what is called with its progress, within the
    process that is at it, so it is pickled for several ``workers``. ``tell`` hears of
    every run that ends; a failed one is a row of the table, and the others go on. The
    tables are whole on disk at every moment. A study that another process is at is
    refused.
    """
    with locked(plan.folder):
        return _carry_out(plan, workers, watch, tell)


def _carry_out(
    plan: StudyPlan,
    workers: int,
    watch: Watch | None,
    tell: Callable[[PlannedRun, Ending], None],
) -> Study:
    _open_folder(plan)
    tables = Tables(plan)
    finished = {run.folder for run in plan.runs if run.is_finished}
    for run in plan.runs:
        if run.folder in finished:
            tables.add(run, "complete")
    tables.write()
    host = Host(watch)
    executor: Executor[Host] = (
        Inline(host) if workers == 1 else Processes(workers, host)
    )
    with closing(executor):
        for runs in (plan.leaders(), plan.followers()):
            missing = [run for run in runs if run.folder not in finished]
            for run, ending in zip(missing, _endings(executor, missing), strict=True):
                tables.add(run, ending.status)
                tables.write()
                tell(run, ending)
    study = Study(plan.folder)
    write_summary(study)
    return study


def _open_folder(plan: StudyPlan) -> None:
    """Make the study's folder; refuse one that holds anything else."""
    folder, path = plan.folder, plan.folder / STUDY_FILE
    if not is_empty(folder) and not path.exists():
        raise InputError(f"--out {folder} holds files but no study; choose another")
    write_atomically(path, dump(plan.config).encode())


def _endings(executor: Executor[Host], runs: Sequence[PlannedRun]) -> Iterator[Ending]:
    """Yield how each run ended, in order; what a worker dies of has failed."""
    jobs = [Job(dump(run.scenario), run.base_folder, run.folder) for run in runs]
    done = 0
    while done < len(jobs):
        try:
            for ending in executor.map(run_one, jobs[done:]):
                done += 1
                yield ending
        except WorkerDied as error:
            done += 1
            yield Ending("failed", str(error))


def run_one(host: Host, job: Job) -> Ending:
    """Run one scenario of a study into its folder, or go on with it."""
    end_with_the_parent()
    try:
        _clear_unbegun(job.folder)
        scenario = load_text(job.scenario_text, Scenario, folder=job.base_folder)
        manifest = run_scenario(
            scenario,
            job.folder,
            command=("netsim", "study"),
            resume=True,
            watch=host.watch(job.folder) if host.watch else (lambda progress: None),
            patience_s=PATIENCE_S,
        )
    except Exception as error:  # whatever stops one run, the others go on
        return Ending("failed", f"{type(error).__name__}: {error}")
    return Ending(
        "complete",
        steps_trained=manifest.steps_trained,
        steps_reused=manifest.steps_reused,
        sim_time_ns=manifest.sim_time_ns,
        rounds=manifest.rounds,
    )


def _clear_unbegun(folder: Path) -> None:
    """Empty the folder of a run that was killed before it had begun."""
    if not folder.exists() or (folder / FILE_NAME).exists():
        return
    with locked(folder, patience_s=PATIENCE_S):
        if not (folder / FILE_NAME).exists():
            for path in folder.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                elif path.name != LOCK_FILE:
                    path.unlink()


def end_with_the_parent() -> None:
    """Let a worker end at once when its parent is killed, not after its run: the study
    that goes on may be writing the same folder by then."""
    parent = parent_process()
    name = "end with the parent"
    if parent is None or name in {thread.name for thread in threading.enumerate()}:
        return

    def wait_and_end() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=wait_and_end, name=name, daemon=True).start()


def run_study(
    study: str | Path, *, out: str | Path | None = None, workers: int = 1
) -> Study:
    """Run a study, a file or a shipped name, and return it; failures are an error."""
    if workers < 1:
        raise InputError(f"workers must be at least 1, got {workers}")
    failed: list[str] = []

    def tell(run: PlannedRun, ending: Ending) -> None:
        if ending.status == "failed":
            failed.append(f"{run.title}: {ending.reason}")

    plan = plan_study(
        find_study(str(study)), RESULTS, None if out is None else Path(out)
    )
    found = carry_out(plan, workers=workers, tell=tell)
    if failed:
        raise StudyFailed("\n".join([f"{plan.folder}: some runs failed", *failed]))
    return found


class StudyFailed(RuntimeError):
    """Some runs of a study failed; the others are finished and in its table."""
