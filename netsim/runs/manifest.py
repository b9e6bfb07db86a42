"""The record of a run in its folder: ``manifest.json``."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import math
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from fl.contract import METRICS, Score
from netsim.core.files import Part, StoredFile, damage, write_atomically
from netsim.core.version import VERSION
from netsim.errors import InputError
from netsim.trace.rows import TRACE_VERSION, Evaluation

FILE_NAME = "manifest.json"
SCENARIO_FILE = "scenario.yaml"
ADAPTER_FOLDER = "adapter"
CODE_FOLDER = "code"  # a user's own modules, as they were
OURS = ("fl/", "netsim/")
PACKAGES = ("numpy", "pyarrow", "simpy", "torch", "peft", "transformers")

Status = Literal["running", "complete", "interrupted", "failed"]


class Manifest(BaseModel):
    """The origin of a run, its state, and every file that it wrote.

    A metric in ``final`` that is not finite is None. The digests are empty until the
    recorder is closed; ``scenario_digest`` is the SHA-256 of ``scenario.yaml``.
    ``predicted`` holds rounds, seconds per round and in all, the standard errors that
    are known (``round_error_s``, ``time_error_s``), and the loss they lead to.
    ``seconds`` and ``joules`` name the devices whose speed and power are least certain,
    and what these rest on.
    ``inputs`` holds the SHA-256 of every file outside that the scenario names, by
    absolute path, and of the parsed code of every module that the run depends on, by
    its path from where Python finds it; comments and docstrings do not count.
    ``timing_model`` names the model that gave the time and that of the accuracy.
    ``checksum`` is the SHA-256 of a file's content without it, so that a
    damaged figure is noticed; in memory it is empty.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    status: Status
    scenario_digest: str
    seed: int
    command: tuple[str, ...]
    versions: dict[str, str]
    machine: str
    timing_model: dict[str, str] = {}
    seconds: str = ""
    joules: str = ""
    inputs: dict[str, str] = {}
    started_at: str  # wall time, ISO 8601
    ended_at: str | None = None
    schema_version: int = TRACE_VERSION
    digest: str = ""
    network_digest: str = ""
    adapter_digest: str = ""
    table_digests: dict[str, str] = {}
    rounds: int = 0
    sim_time_ns: int = 0
    pilot_rounds: int = 0  # of the rounds
    pilot_time_ns: int = 0  # of the simulated time
    predicted: dict[str, float] = {}  # by a policy's first plan
    constants: dict[str, float] = {}  # that a policy measured last
    steps_trained: int = 0
    steps_reused: int = 0
    cpu_s: float = 0.0  # of the process that ended the run, without its workers
    final: dict[str, float | None] = {}
    parts: tuple[Part, ...] = ()
    files: tuple[StoredFile, ...] = ()
    checksum: str = ""

    @property
    def all_files(self) -> tuple[Part | StoredFile, ...]:
        """Return every listed file."""
        return (*self.parts, *self.files)

    def write(self, run_folder: Path) -> None:
        """Write ``manifest.json`` into the run's folder, whole or not at all."""
        checked = self.model_copy(update={"checksum": self.sum_up()})
        text = checked.model_dump_json(indent=2) + "\n"
        write_atomically(run_folder / FILE_NAME, text.encode())

    def sum_up(self, *, as_read: bool = False) -> str:
        """Return the SHA-256 of its content without the checksum; ``as_read`` without
        fields that its file lacks, since an older version wrote it."""
        text = self.model_dump_json(exclude={"checksum"}, exclude_unset=as_read)
        return hashlib.sha256(text.encode()).hexdigest()


def read_manifest(run_folder: Path) -> Manifest:
    """Return the manifest of a run's folder."""
    path = run_folder / FILE_NAME
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is not a regular file")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{run_folder} is not a run: cannot read {path.name}, {error.strerror}"
            f"{_runs_within(run_folder)}"
        ) from error
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        raise InputError(f"{path} is damaged: {_first_problem(error)}") from error
    if manifest.schema_version != TRACE_VERSION:
        raise InputError(
            f"{path}: trace version {manifest.schema_version}, "
            f"but this netsim reads version {TRACE_VERSION}"
        )
    if manifest.checksum != manifest.sum_up(as_read=True):
        raise InputError(f"{path} is damaged: its content has another checksum")
    return manifest.model_copy(update={"checksum": ""})


def code_in(inputs: Mapping[str, str]) -> dict[str, str]:
    """Return the modules among the inputs of a run."""
    return {path: sha for path, sha in inputs.items() if not os.path.isabs(path)}


def has_known_code(manifest: Manifest) -> bool:
    """Return whether a run lists the modules of this project that made it."""
    return _lists_ours(manifest.inputs)


def _lists_ours(inputs: Mapping[str, str]) -> bool:
    return any(path.startswith(OURS) for path in inputs)


def edited(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the modules that differ between the inputs of two runs, a user's own
    first; none where only one lists those of this project: an older one has digests of
    files in place of code."""
    old, new = code_in(before), code_in(now)
    if _lists_ours(old) != _lists_ours(new):
        return []
    found = [path for path in old | new if old.get(path) != new.get(path)]
    return sorted(found, key=lambda path: (path.startswith(OURS), path))


def require_as_left(adapter: Path) -> None:
    """Refuse an adapter in a run's folder that is not, byte for byte, what the manifest
    lists; an adapter elsewhere has no record to compare with."""
    run = adapter.parent
    is_of_a_run = (run / FILE_NAME).is_file() and (run / SCENARIO_FILE).is_file()
    if adapter.name != ADAPTER_FOLDER or not is_of_a_run:
        return
    try:
        listed = read_manifest(run).files
    except InputError as error:
        hint = "to start from its adapter as it is, copy that elsewhere"
        raise InputError(f"learning.start: {error}; {hint}") from error
    for file in listed:
        wrong = (
            damage(run, file) if Path(file.path).parent == Path(adapter.name) else ""
        )
        if wrong:
            raise InputError(f"learning.start: {wrong}")


def _runs_within(folder: Path) -> str:
    """Return a hint at the runs in a folder of many runs; empty if it has none."""
    within = sorted(found.parent for found in folder.glob(f"runs/*/*/{FILE_NAME}"))
    return f"; it holds {len(within)}, as {within[0]}" if within else ""


def known_metrics(score: Score | Evaluation) -> dict[str, float | None]:
    """Return the metrics that a score has; one that is not finite is None."""
    values = {name: getattr(score, name) for name in METRICS}
    return {
        name: value if math.isfinite(value) else None
        for name, value in values.items()
        if value is not None
    }


def versions() -> dict[str, str]:
    """Return the versions of all that a result may depend on, without importing it."""
    found = {"python": platform.python_version(), "netsim": VERSION}
    return found | dict(_installed())


@functools.cache
def _installed() -> tuple[tuple[str, str], ...]:
    """Return the installed packages that a result may depend on, with versions."""
    found = []
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append((package, importlib.metadata.version(package)))
    return tuple(found)


def machine() -> str:
    """Return this computer's platform, in one line."""
    return f"{platform.platform()} {platform.machine()}"


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in problem["loc"])
    return f"{place}: {problem['msg']}" if place else problem["msg"]


def require_scenario(run_folder: Path, manifest: Manifest) -> None:
    """Refuse a scenario file that is not the one of the run."""
    path = run_folder / "scenario.yaml"
    listed = StoredFile(path=path.name, num_bytes=0, sha256=manifest.scenario_digest)
    wrong = damage(run_folder, listed)
    if wrong:
        raise InputError(wrong)
