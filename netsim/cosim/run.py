"""One run from a scenario to a finished folder."""

from __future__ import annotations

import datetime
import hashlib
import itertools
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from netsim.core.engine import rare_garbage_collection
from netsim.core.files import (
    damage,
    make_durable,
    make_folder,
    stored_file,
    sync,
    write_atomically,
)
from netsim.core.locks import is_empty, locked
from netsim.cosim.extend import LONGER, adopt
from netsim.cosim.inputs import changed, inputs, keep_code, require_same_code
from netsim.cosim.reading import read_scenario, read_unloaded
from netsim.cosim.scenario import Scenario
from netsim.cosim.workers import ALONE, Workers
from netsim.cosim.world import build_population, build_stage, play
from netsim.devices.device import least_certain, least_certain_power
from netsim.errors import InputError
from netsim.learner.learner import Learner
from netsim.learner.stop import is_of
from netsim.runs.manifest import (
    ADAPTER_FOLDER,
    CODE_FOLDER,
    FILE_NAME,
    SCENARIO_FILE,
    Manifest,
    Status,
    known_metrics,
    machine,
    read_manifest,
    require_scenario,
    versions,
)
from netsim.scenario import UserCode, dump, scenario_digest
from netsim.scenario.difference import Change, changes
from netsim.server.stage import Progress, Stage
from netsim.trace.writer import Recorder, clear_trace

if TYPE_CHECKING:
    from netsim.learner.app import App

RUNS = Path("results") / "runs"


def claim_folder(scenario: Scenario, parent: Path = RUNS) -> Path:
    """Make and return a new folder under ``parent``: ``<name>-<digest>``, numbered from
    the second run of the same scenario on."""
    first = parent / f"{scenario.name}-{scenario_digest(scenario)[:12]}"
    make_folder(parent)
    for attempt in itertools.count(1):
        folder = first if attempt == 1 else first.with_name(f"{first.name}-{attempt}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        sync(parent)
        return folder
    raise AssertionError("an endless count ended")


def run_scenario(
    scenario: Scenario,
    folder: Path,
    *,
    command: tuple[str, ...] = (),
    resume: bool = False,
    reuse: bool = True,
    workers: Workers = ALONE,
    watch: Callable[[Progress], None] = lambda progress: None,
    patience_s: float = 0.0,
    with_base: bool = False,
) -> Manifest:
    """Run a scenario into ``folder`` and return its manifest.

    Learning of earlier runs is reused; without ``reuse`` it is computed again.
    Who trains, ``workers``, changes no result. With
    ``resume`` a finished run of the same scenario is left as it is, and an unfinished
    or damaged one is completed; if only ``stop`` differs, the run is continued to the
    new end, and the recorded run is kept until then. A folder that another process
    writes is waited for, up to ``patience_s``, and then refused. ``with_base`` copies a
    pre-trained base model into the folder of the adapter.
    """
    with locked(folder, patience_s=patience_s):
        earlier, found = recorded(scenario, folder, resume)
        is_done = earlier is not None and earlier.status == "complete"
        if earlier and is_done and not found and _is_sound(folder, earlier):
            return earlier
        place = folder / LONGER if found else folder
        learner = scenario.learning.learner(
            scenario.population.num_clients, scenario.seed, reuse=reuse, workers=workers
        )
        if earlier is not None and "is-an-app" in scenario.learning.traits:
            cast("App", learner).require_repeats()
        with closing(learner):
            manifest = _run(
                scenario, place, learner, command, watch, with_base=with_base
            )
        if found:
            adopt(folder)
        return manifest


def _run(
    scenario: Scenario,
    folder: Path,
    learner: Learner,
    command: tuple[str, ...],
    watch: Callable[[Progress], None],
    *,
    with_base: bool,
) -> Manifest:
    began_s = time.process_time()
    population = build_population(scenario, learner)
    folder.mkdir(parents=True, exist_ok=True)
    text = dump(scenario).encode()
    manifest = _open_manifest(scenario, text, command)
    with _recording(manifest, folder) as recorder, rare_garbage_collection():
        write_atomically(folder / SCENARIO_FILE, text)
        keep_code(scenario, folder)
        stage = build_stage(scenario, learner, population, recorder, watch)
        play(stage, scenario)
        adapter = folder / ADAPTER_FOLDER
        shutil.rmtree(adapter, ignore_errors=True)  # what a killed export has left
        digest = learner.export(stage.version, adapter, with_base=with_base)
        for name in (ADAPTER_FOLDER, CODE_FOLDER):  # before the manifest lists them
            make_durable(folder / name)
        manifest = manifest.model_copy(update={"cpu_s": time.process_time() - began_s})
        return _finish(manifest, folder, stage, digest)


def _is_sound(folder: Path, earlier: Manifest) -> bool:
    """Return whether all files of a complete run are as it left them; refuse a damaged
    one that these versions may not bring back."""
    wrong = next(filter(None, (damage(folder, f) for f in earlier.all_files)), "")
    if wrong and earlier.versions != versions():
        raise InputError(
            f"{wrong}; other versions of python or a package made this run, so run it "
            "again into another folder"
        )
    return not wrong


def recorded(
    scenario: Scenario, folder: Path, resume: bool
) -> tuple[Manifest | None, list[Change]]:
    """Return the manifest of the run in the folder, if there is one, and the changes of
    `stop`; refuse a folder that holds anything else."""
    if is_empty(folder):
        return None, []
    if not resume:
        raise InputError(
            f"--out {folder} is not empty; choose another folder, or add --resume to "
            "go on with the run in it"
        )
    if not (folder / FILE_NAME).exists():
        raise InputError(f"{folder} holds files but no run; choose another folder")
    adopt(folder)
    earlier = read_manifest(folder)
    if earlier.status == "complete" and (others := changed(earlier)):
        raise InputError(
            f"{folder} holds a run of the same scenario, but {others[0]} is no longer "
            "what it was then; choose another folder"
        )
    digest = hashlib.sha256(dump(scenario).encode()).hexdigest()
    is_same = earlier.scenario_digest == digest
    found = [] if is_same else differences(scenario, folder, earlier)
    if earlier.status == "complete":  # any other starts over, with the code of today
        require_same_code(earlier, scenario, folder)
    return earlier, found


def extended(scenario: Scenario, folder: Path, code: UserCode) -> Scenario | None:
    """Return the recorded scenario if this one only changes `stop`."""
    with locked(folder):
        _, found = recorded(scenario, folder, resume=True)
    return read_scenario(folder / SCENARIO_FILE, (), code) if found else None


def differences(scenario: Scenario, folder: Path, earlier: Manifest) -> list[Change]:
    """Return the changes of `stop` from the recorded run; refuse any other change."""
    require_scenario(folder, earlier)
    found = changes(read_unloaded(folder / SCENARIO_FILE), scenario)
    others = [change for change in found if change.path[0] != "stop"]
    if others:
        more = f", and {len(others) - 3} more" if len(others) > 3 else ""
        raise InputError(
            f"{folder} holds a run of another scenario ({earlier.name}, seed "
            f"{earlier.seed}): {'; '.join(map(str, others[:3]))}{more}. Only `stop` "
            "may differ; choose another folder"
        )
    return found


def _open_manifest(
    scenario: Scenario, text: bytes, command: tuple[str, ...]
) -> Manifest:
    return Manifest(
        name=scenario.name,
        status="running",
        scenario_digest=hashlib.sha256(text).hexdigest(),
        seed=scenario.seed,
        command=tuple(map(_as_text, command)),
        versions=versions(),
        machine=machine(),
        timing_model=scenario.learning.timing_model(),
        seconds=_seconds(scenario),
        joules=_joules(scenario),
        inputs=inputs(scenario),
        started_at=_now(),
    )


def _seconds(scenario: Scenario) -> str:
    """Return what the least certain device of a scenario rests on."""
    found = least_certain(one.device for one in scenario.population.devices)
    return f"{found.certainty} ({found.name})"


def _joules(scenario: Scenario) -> str:
    """Return what the least certain power of a scenario's devices rests on."""
    found = least_certain_power(one.device for one in scenario.population.devices)
    return f"of a power that is {found.power_basis} ({found.name})"


def _finish(
    manifest: Manifest, folder: Path, stage: Stage, adapter_digest: str
) -> Manifest:
    """Write the manifest of a finished run."""
    learner = stage.scene.learner
    summary = stage.scene.recorder.close()
    pilot_rounds, pilot_time_ns = stage.piloted()
    kept = (_files_below(folder, name) for name in (ADAPTER_FOLDER, CODE_FOLDER))
    files = [SCENARIO_FILE, *itertools.chain(*kept)]
    done = manifest.model_copy(
        update={
            "status": "complete",
            "ended_at": _now(),
            "digest": summary.digest(adapter_digest),
            "network_digest": summary.network_digest,
            "adapter_digest": adapter_digest,
            "table_digests": summary.table_digests,
            "rounds": stage.last_round_id,
            "sim_time_ns": stage.scene.env.now,
            "pilot_rounds": pilot_rounds,
            "pilot_time_ns": pilot_time_ns,
            "predicted": dict(stage.predicted),
            "constants": dict(stage.constants),
            "steps_trained": learner.steps_trained,
            "steps_reused": learner.steps_reused,
            "final": _final(stage),
            "parts": summary.parts,
            "files": tuple(stored_file(folder, path) for path in files),
        }
    )
    done.write(folder)
    return done


def _final(stage: Stage) -> dict[str, float | None]:
    """Return the last global test metrics; one that is not finite is None."""
    found: dict[str, float | None] = {}
    for score in stage.evaluations.last:
        if score.client_id is None and is_of(score.split, "test"):
            found.update(known_metrics(score))
    return found


def _files_below(folder: Path, name: str) -> list[str]:
    paths = (path for path in (folder / name).rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in paths)


@contextmanager
def _recording(manifest: Manifest, folder: Path) -> Iterator[Recorder]:
    """Yield the recorder of the trace; on any error the folder keeps all rows so far,
    and its manifest the status."""
    recorder: Recorder | None = None

    def close(status: Status) -> None:
        closed = manifest.model_copy(update={"status": status, "ended_at": _now()})
        closed.write(folder)
        if recorder is not None:
            parts = recorder.close().parts
            closed.model_copy(update={"parts": parts}).write(folder)

    try:
        # first: a folder without a manifest holds no run, an old one lists old parts
        manifest.write(folder)
        clear_trace(folder)
        recorder = Recorder(folder)
        yield recorder
    except KeyboardInterrupt:
        close("interrupted")
        raise
    except SystemExit as error:
        close("failed")
        raise InputError(
            f"a class of your own ended the program, sys.exit({error.code!r}); let it "
            "raise an exception that says what is wrong"
        ) from error
    except BaseException:
        close("failed")
        raise


def _as_text(word: str) -> str:
    """Return a word of the command line as Unicode; a path may hold any bytes."""
    return word.encode("utf-8", "backslashreplace").decode()


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
