"""A search: Optuna proposes settings, runs evaluate them, and a killed search continues
with the same trials.

What is proposed depends on the search's seed, the trial's number and the answers before
it, so that neither a kill nor the number of workers changes a trial.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from netsim.core.files import write_atomically
from netsim.core.locks import is_empty, locked
from netsim.core.streams import stream
from netsim.cosim.inputs import require_same_code
from netsim.cosim.scenario import Scenario
from netsim.cosim.workers import Executor, Workers
from netsim.errors import InputError
from netsim.runs.manifest import FILE_NAME, read_manifest
from netsim.runs.run import load_run
from netsim.scenario import dump
from netsim.study.run import endings, executor_of, job_of, of_one_code
from netsim.study.work import Ending, Host, Job
from netsim.tune.plan import TunePlan
from netsim.tune.search import Setting, TuneConfig
from netsim.tune.trials import AS_IS, Measured, TrialRow, best, measured, table

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.samplers import BaseSampler
    from optuna.storages.journal._file import BaseJournalFileLock
    from optuna.trial import FrozenTrial

RESULTS = Path("results") / "tunes"
TUNE_FILE, JOURNAL = "tune.yaml", "trials.journal"
TRIALS, BEST = "trials.parquet", "best.yaml"
ROW = "row"  # the attribute of a trial that was answered
Settings = dict[str, str]


@dataclass
class Answers:
    """The rows of a search in the order of its trials, and the files they make."""

    plan: TunePlan
    rows: list[TrialRow] = field(default_factory=list)

    def add(self, row: TrialRow) -> None:
        """Add a trial, and write table and best scenario as they are now."""
        self.rows.append(row)
        config, folder = self.plan.config, self.plan.folder
        content = table(self.rows, config).to_parquet(index=False)
        assert isinstance(content, bytes)
        write_atomically(folder / TRIALS, content)
        found = best(self.rows, config)
        if found is not None:
            text = dump(self.plan.scenario(found.settings or {}))
            write_atomically(folder / BEST, text.encode())


def carry_out_search(
    plan: TunePlan,
    *,
    workers: Workers | None = None,
    tell: Callable[[TrialRow], None] = lambda row: None,
) -> list[TrialRow]:
    """Run what is missing of a search and return all rows, the scenario as it is first.

    ``tell`` hears of every new trial. A trial whose settings do not go together is
    refused, one of which a run fails has failed; the search goes on. Where files or
    memory of the host fail, it ends, and goes on with that trial when called again.
    """
    if find_spec("optuna") is None:
        raise InputError(
            "netsim tune needs Optuna: pip install -c constraints.txt -e '.[tune]' in "
            "the folder of netsim"
        )
    with locked(plan.folder), _quiet():
        _open_folder(plan)
        study = _opened_study(plan)
        answers = Answers(plan)
        with closing(executor_of(workers or Workers(), plan.folder)) as executor:
            done = [t for t in study.get_trials(deepcopy=False) if ROW in t.user_attrs]
            rows = [_row(trial) for trial in done]
            _require_one_code(plan, rows)
            answers.add(_tried(plan, executor, {AS_IS: {}})[0])
            for row in rows:
                answers.add(row)
            while len(answers.rows) <= plan.config.trials:
                for row in _batch(plan, study, executor, len(answers.rows)):
                    answers.add(row)
                    tell(row)
        return answers.rows


def _open_folder(plan: TunePlan) -> None:
    """Make the search's folder; refuse one that holds anything else."""
    path = plan.folder / TUNE_FILE
    if not is_empty(plan.folder) and not path.exists():
        raise InputError(f"--out {plan.folder} holds files but no search")
    own = dump(plan.config.model_copy(update={"trials": 1}))
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        recorded = "".join(
            "trials: 1\n" if line.startswith("trials: ") else line for line in lines
        )
        if recorded != own:
            raise InputError(
                f"--out {plan.folder} holds another search; only `trials` may differ"
            )
    write_atomically(path, dump(plan.config).encode())


def _require_one_code(plan: TunePlan, rows: Sequence[TrialRow]) -> None:
    """Refuse to go on with a search whose finished runs other code made."""
    settings: dict[int, Mapping[str, str]] = {AS_IS: {}}
    settings |= {r.trial: r.settings or {} for r in rows if r.status == "complete"}
    for number, wanted in settings.items():
        for seed in plan.config.seeds:
            folder = plan.run_folder(number, seed)
            if (folder / FILE_NAME).exists():
                manifest = read_manifest(folder)
                if manifest.status == "complete":
                    require_same_code(manifest, plan.scenario(wanted), folder)


def _opened_study(plan: TunePlan) -> Study:
    """Return the study of the folder's journal; what was under way is given up."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import TrialState

    path = plan.folder / JOURNAL
    for lock in plan.folder.glob(f"{JOURNAL}.lock*"):
        lock.unlink()  # Optuna's, of a search that was killed under an older version
    _cut_torn_line(path)
    # the folder is ours alone: Optuna's lock outlives a kill and fails with the disk
    backend = JournalFileBackend(str(path), cast("BaseJournalFileLock", _OurFolder()))
    study = optuna.create_study(
        storage=JournalStorage(backend),
        study_name=plan.config.name,
        direction="minimize" if plan.config.is_least else "maximize",
        load_if_exists=True,
    )
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if ROW in trial.user_attrs:  # killed between row and value
            _tell(study, trial.number, _row(trial), plan.config)
        else:
            study.tell(trial.number, state=TrialState.FAIL)
    return study


class _OurFolder:
    """In the place of Optuna's lock: the search's folder is locked."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def _cut_torn_line(path: Path) -> None:
    """Drop the last line of a journal if a kill has left it incomplete."""
    if path.exists():
        content = path.read_bytes()
        write_atomically(path, content[: content.rfind(b"\n") + 1])


def _row(trial: FrozenTrial) -> TrialRow:
    """Return the row that is stored with a trial."""
    stored = json.loads(trial.user_attrs[ROW])
    runs = tuple(Measured(**run) for run in stored.pop("runs"))
    return TrialRow(**stored, runs=runs)


def _batch(
    plan: TunePlan, study: Study, executor: Executor[Host], first: int
) -> Iterator[TrialRow]:
    """Ask for trials, run them in parallel, and yield the row of each."""
    config = plan.config
    last = min(first + config.batch, config.trials + 1)
    asked: dict[int, Trial] = {}
    for number in range(first, last):
        study.sampler = sampler(config, number)
        asked[number] = study.ask()
    wanted = {number: suggested(trial, config) for number, trial in asked.items()}
    for row in _tried(plan, executor, wanted):
        _answer(study, asked[row.trial], row, config)
        yield row


def sampler(config: TuneConfig, number: int) -> BaseSampler:
    """Return what proposes one trial, from the answers so far and its own stream."""
    from optuna.samplers import RandomSampler, TPESampler

    seed = int(stream(config.search_seed, "tune", number).integers(2**31))
    if config.sampler == "random":
        return RandomSampler(seed=seed)
    return TPESampler(seed=seed, n_startup_trials=config.startup, multivariate=True)


def suggested(trial: Trial, config: TuneConfig) -> Settings:
    """Return the settings of a trial as overrides of the scenario."""
    return {
        path: setting.written(_suggestion(trial, path, setting))
        for path, setting in config.search.items()
    }


def _suggestion(trial: Trial, path: str, setting: Setting) -> float | str:
    if setting.choices:
        found: Any = trial.suggest_categorical(path, list(setting.labels))
        return str(found)
    low, high = setting.ends
    if setting.is_whole:
        return trial.suggest_int(path, int(low), int(high), log=setting.log)
    return trial.suggest_float(path, low, high, log=setting.log)


def _answer(study: Study, trial: Trial, row: TrialRow, config: TuneConfig) -> None:
    """Store a trial's row, and report its value to Optuna."""
    if row.status == "complete":
        for index, beyond in enumerate(row.violations(config)):
            trial.set_constraint(str(index), min(beyond, 1e9))
    trial.set_user_attr(ROW, json.dumps(asdict(row)))
    _tell(study, trial.number, row, config)


def _tell(study: Study, number: int, row: TrialRow, config: TuneConfig) -> None:
    from optuna.trial import TrialState

    if row.status == "complete":
        study.tell(number, row.value(config))
    else:
        study.tell(number, state=TrialState.FAIL)


def _tried(
    plan: TunePlan, executor: Executor[Host], wanted: Mapping[int, Settings]
) -> list[TrialRow]:
    """Return the rows of trials, each run with every seed."""
    jobs: dict[tuple[int, int], Job] = {}
    scenarios: dict[tuple[int, int], Scenario] = {}
    refused: dict[int, str] = {}
    for number, settings in wanted.items():
        try:
            scenario = plan.scenario(settings)
        except InputError as error:
            refused[number] = str(error)
            continue
        for seed in plan.config.seeds:
            seeded = scenario.model_copy(update={"seed": seed})
            folder = plan.run_folder(number, seed)
            scenarios[number, seed] = seeded
            jobs[number, seed] = job_of(seeded, plan.base.parent, folder, plan.code)
    names = list(jobs)
    ended = {
        names[index]: of_one_code(ending, scenarios[names[index]], job.folder)
        for index, ending in endings(executor, list(jobs.values()))
        for job in [jobs[names[index]]]
    }
    return [
        TrialRow(number, "refused", refused[number], settings)
        if number in refused
        else _judged(plan, number, settings, ended)
        for number, settings in wanted.items()
    ]


def _judged(
    plan: TunePlan,
    number: int,
    settings: Settings,
    ended: Mapping[tuple[int, int], Ending],
) -> TrialRow:
    """Return the row of a trial whose runs have ended."""
    for seed in plan.config.seeds:
        ending = ended[number, seed]
        if ending.is_of_host:
            raise InputError(f"trial {number}: {ending.reason}")
        if ending.status == "failed":
            return TrialRow(number, "failed", ending.reason, settings)
    runs = (load_run(plan.run_folder(number, seed)) for seed in plan.config.seeds)
    found = tuple(measured(run, plan.config.target) for run in runs)
    return TrialRow(number, "complete", "", settings, found)


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress Optuna's log and its warnings about experimental features."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
