"""One run of a study in a worker, on this machine or on another."""

from __future__ import annotations

import io
import os
import shutil
import socket
import tempfile
import threading
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import Literal

from fl.failure import failure
from netsim.core.locks import LOCK_FILE, locked
from netsim.cosim.reading import parse_scenario
from netsim.cosim.run import run_scenario
from netsim.runs.manifest import FILE_NAME, Manifest
from netsim.scenario import UserCode
from netsim.server.stage import Progress

PATIENCE_S = 60.0  # with a worker of a killed study that is about to notice

Status = Literal["complete", "failed"]
Watch = Callable[[Path], Callable[[Progress], None]]


@dataclass(frozen=True, slots=True)
class Ending:
    """How one run of a study ended; ``reason`` says why it failed, ``is_of_host`` that
    files or memory of the host were at fault, so that another try may succeed.

    Where the worker does not see the files here, ``far_host`` is where it ran and
    ``packed`` its folder as a zip archive.
    """

    status: Status
    reason: str = ""
    is_of_host: bool = False
    steps_trained: int = 0
    steps_reused: int = 0
    sim_time_ns: int = 0
    rounds: int = 0
    far_host: str = ""
    packed: bytes = b""


@dataclass(frozen=True, slots=True)
class Job:
    """One run as it is sent to a worker: plain text, since a user's own class is
    found only from the folder of the base scenario, where ``code`` permits it."""

    scenario_text: str
    base_folder: Path
    folder: Path
    code: UserCode


@dataclass(frozen=True, slots=True)
class Mark:
    """A file by which a worker finds out whether it shares the file system."""

    path: Path
    content: bytes

    @classmethod
    def of(cls, study_folder: Path) -> Mark:
        """Return the mark of a study that this process holds."""
        path = study_folder.resolve() / LOCK_FILE
        return cls(path, path.read_bytes())

    @property
    def is_seen(self) -> bool:
        """Return whether the file is there, with this content."""
        try:
            return self.path.read_bytes() == self.content
        except OSError:
            return False


@dataclass(frozen=True, slots=True)
class Host:
    """What a process needs to run parts of a study; without a mark it sees all."""

    watch: Watch | None = None
    mark: Mark | None = None


def run_one(host: Host, job: Job) -> Ending:
    """Run, or resume, one scenario of a study in its folder."""
    end_with_the_parent()
    is_near = host.mark is None or host.mark.is_seen
    try:
        if is_near:
            return _ending(_run(host, job, job.folder))
        return _run_far(host, job)
    except Exception as error:  # whatever stops one run, the others go on
        reason = failure(error) or f"{type(error).__name__}: {error}"
        return Ending("failed", reason, isinstance(error, OSError | MemoryError))


def _run(host: Host, job: Job, folder: Path) -> Manifest:
    _clear_unbegun(folder)
    scenario = parse_scenario(job.scenario_text, job.base_folder, job.code)
    return run_scenario(
        scenario,
        folder,
        command=("netsim", "study"),
        resume=True,
        watch=host.watch(job.folder) if host.watch else (lambda progress: None),
        patience_s=PATIENCE_S,
    )


def _run_far(host: Host, job: Job) -> Ending:
    """Run in a new folder of this machine that only this user can enter, and send it
    back: in a folder of a known name another user may have put a finished run."""
    with tempfile.TemporaryDirectory(prefix="netsim-run-") as private:
        folder = Path(private) / "run"
        manifest = _run(host, job, folder)
        return _ending(manifest, far_host=socket.gethostname(), packed=packed(folder))


def _ending(manifest: Manifest, *, far_host: str = "", packed: bytes = b"") -> Ending:
    return Ending(
        "complete",
        steps_trained=manifest.steps_trained,
        steps_reused=manifest.steps_reused,
        sim_time_ns=manifest.sim_time_ns,
        rounds=manifest.rounds,
        far_host=far_host,
        packed=packed,
    )


def packed(folder: Path) -> bytes:
    """Return all files of a folder as one archive; they are compressed already."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.name != LOCK_FILE:
                archive.write(path, path.relative_to(folder))
    return buffer.getvalue()


def unpack(content: bytes, folder: Path) -> None:
    """Put a run from another machine into its folder, whole or not at all."""
    incoming = folder.with_name(f".{folder.name}.incoming")
    shutil.rmtree(incoming, ignore_errors=True)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(incoming)
    if folder.exists():
        shutil.rmtree(folder)
    incoming.rename(folder)


def _clear_unbegun(folder: Path) -> None:
    """Empty the folder of a run that was killed before it had begun."""
    if not folder.exists() or (folder / FILE_NAME).exists():
        return
    with locked(folder, patience_s=PATIENCE_S):
        if (folder / FILE_NAME).exists():
            return
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
