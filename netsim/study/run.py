"""A study run: several runs at a time, a table that grows with them, and a way back
into it after a kill."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pandas as pd

from netsim.core.files import write_atomically
from netsim.core.locks import clear_lock, is_empty, locked
from netsim.cosim.inputs import edited_since, require_same_code
from netsim.cosim.run import differences
from netsim.cosim.scenario import Scenario
from netsim.cosim.shipped import find_study
from netsim.cosim.workers import Executor, NoCluster, Workers
from netsim.errors import InputError
from netsim.runs.manifest import FILE_NAME, Manifest, has_known_code, read_manifest
from netsim.runs.run import load_run
from netsim.scenario import UserCode, dump
from netsim.scenario.permission import announcing
from netsim.study.frames import TABLE, Study, write_curves, write_summary, write_table
from netsim.study.outcomes import THE_END, curve, final_metrics, outcomes
from netsim.study.plan import PlannedRun, StudyPlan, plan_study
from netsim.study.work import Ending, Host, Job, Mark, Status, Watch, run_one, unpack

RESULTS = Path("results") / "studies"
STUDY_FILE = "study.yaml"
KEEPS = ", or --mixed-code keeps such runs, marked in the table"


@dataclass
class Tables:
    """The rows of the finished and failed runs, written in the study's own order."""

    plan: StudyPlan
    _rows: dict[Path, list[dict[str, object]]] = field(default_factory=dict)
    _curves: dict[Path, pd.DataFrame] = field(default_factory=dict)

    def add(self, run: PlannedRun, status: Status) -> None:
        """Add the results of a finished run on disk, or that a run has failed."""
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
            "other_code": other_code(found.manifest, run.scenario),
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
        names = [target.title for target in self.plan.config.targets]
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


def executor_of(
    workers: Workers, folder: Path, watch: Watch | None = None
) -> Executor[Host]:
    """Return the executor of a study or search whose folder is locked."""
    is_far = workers.ray is not None
    host = Host(mark=Mark.of(folder)) if is_far else Host(watch)
    return workers.executor(host, preload=("netsim.cosim.run",))


def carry_out(
    plan: StudyPlan,
    *,
    workers: Workers | None = None,
    watch: Watch | None = None,
    tell: Callable[[PlannedRun, Ending], None] = lambda run, ending: None,
    mixed_code: bool = False,
) -> Study:
    """Run what is missing of a study and return it; finished runs are kept.

    ``watch`` returns, by the run's folder, what is called with its progress, within the
    process that is at it, so it is pickled for several ``workers``; a Ray cluster has
    none. ``tell`` hears of every run that ends, as they do; a failed one is a row of
    the table, and the others go on. The tables are whole on disk at every moment. A
    study that another process is at is refused, and finished runs that other code made
    unless ``mixed_code`` keeps them, marked in the table.
    """
    with locked(plan.folder):
        tables = Tables(plan)
        finished = _opened(plan, tables, mixed_code=mixed_code)
        with closing(executor_of(workers or Workers(), plan.folder, watch)) as executor:
            for runs in (plan.leaders(), plan.followers()):
                missing = [run for run in runs if run.folder not in finished]
                jobs = [
                    job_of(r.scenario, r.base_folder, r.folder, plan.code)
                    for r in missing
                ]
                for index, ending in endings(executor, jobs):
                    run = missing[index]
                    ending = of_one_code(ending, run.scenario, run.folder)
                    tables.add(run, ending.status)
                    tables.write()
                    tell(run, ending)
        study = Study(plan.folder)
        write_summary(study)
        return study


def other_code(manifest: Manifest, scenario: Scenario) -> str:
    """Return the modules that a run was made by and that are other ones now."""
    found = ", ".join(edited_since(manifest, scenario))
    return found if has_known_code(manifest) else found or "unknown"


def of_one_code(ending: Ending, scenario: Scenario, folder: Path) -> Ending:
    """Return how a run ended: it failed where its code was edited since this process
    loaded it."""
    if ending.status == "failed":
        return ending
    edited = edited_since(read_manifest(folder), scenario)
    if not edited:
        return ending
    return Ending("failed", f"{', '.join(edited)} was edited since the runs began")


def _opened(plan: StudyPlan, tables: Tables, *, mixed_code: bool) -> set[Path]:
    """Make the study's folder and its tables; return which runs are finished."""
    require_room(plan)
    finished = [run for run in plan.runs if run.is_finished]
    for run in () if mixed_code else finished:
        manifest = read_manifest(run.folder)
        require_same_code(manifest, run.scenario, run.folder, KEEPS)
    for run in finished:
        clear_lock(run.folder)
        tables.add(run, "complete")
    tables.write()  # first: the table makes a folder that of a study
    write_atomically(plan.folder / STUDY_FILE, dump(plan.config).encode())
    return {run.folder for run in finished}


def require_room(plan: StudyPlan) -> None:
    """Refuse a folder that holds files but no study, or finished runs of another: all
    that this study does to them is to fail."""
    folder = plan.folder
    if not is_empty(folder) and not (folder / TABLE).exists():
        raise InputError(f"--out {folder} holds files but no study; choose another")
    planned = {run.folder.parent: run.combination.label for run in plan.runs}
    for path in sorted(folder.glob(f"runs/*/*/{FILE_NAME}")):
        if path.parent.parent not in planned:
            raise InputError(
                f"--out {folder} holds another study: this one has no run "
                f"{path.parent.relative_to(folder)}; choose another folder"
            )
    for run in plan.runs:
        earlier = run.earlier
        if earlier and earlier.status == "complete" and not run.is_finished:
            differences(run.scenario, run.folder, earlier)


def job_of(scenario: Scenario, base_folder: Path, folder: Path, code: UserCode) -> Job:
    """Return a run as any process can do it, with what it may import."""
    code = code.for_worker(base_folder)
    return Job(dump(scenario), base_folder.resolve(), folder.resolve(), code)


def endings(
    executor: Executor[Host], jobs: Sequence[Job]
) -> Iterator[tuple[int, Ending]]:
    """Yield each run's index and how it ended, as they do, with its folder in place;
    what a worker dies of has failed."""
    for index, outcome in executor.completed(run_one, jobs):
        if isinstance(outcome.error, NoCluster):
            raise InputError(f"--ray: {outcome.error}")
        if outcome.error is not None:
            yield index, Ending("failed", str(outcome.error))
            continue
        if outcome.result.packed:
            unpack(outcome.result.packed, jobs[index].folder)
        yield index, outcome.result


def run_study(
    study: str | Path,
    *,
    out: str | Path | None = None,
    workers: int | None = None,
    ray: str | None = None,
    allow_code: bool = False,
    mixed_code: bool = False,
) -> Study:
    """Run what is missing of a study, a file or a shipped name, and return it.

    Without ``out`` its folder is under ``results/studies``. ``workers`` is how many
    runs go on at a time, on a Ray cluster if ``ray`` is its address or "auto"; the
    results are the same. A run that fails is an error, after all others.
    ``allow_code`` as for ``netsim.run``. Finished runs that other code made are
    refused; with ``mixed_code`` they are kept, and ``other_code`` of the table marks
    them.
    """
    who = Workers(workers, ray)
    failed: list[str] = []

    def tell(run: PlannedRun, ending: Ending) -> None:
        if ending.status == "failed":
            failed.append(f"{run.title}: {ending.reason}")

    folder = None if out is None else Path(out)
    code = announcing(logging.getLogger("netsim").warning, allows_given=allow_code)
    plan = plan_study(find_study(str(study)), RESULTS, folder, code=code)
    found = carry_out(plan, workers=who, tell=tell, mixed_code=mixed_code)
    if failed:
        raise StudyFailed("\n".join([f"{plan.folder}: some runs failed", *failed]))
    return found


class StudyFailed(RuntimeError):
    """Some runs of a study failed; the others are finished and in its table."""
