"""Disks that are full, read-only or not writable: one clear message, nothing finished
is lost, and the run can be resumed later. A small tmpfs needs root on Linux.

``python -m tests.torture.disk --out DIR``
"""

import argparse
import contextlib
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from netsim import load_run
from netsim.runs.manifest import FILE_NAME
from tests.torture.judging import judged
from tests.torture.table import Table

WORDS = ("run", "network-only", "--set", "stop={rounds: 20}", "--quiet")
LONG = ("run", "network-only", "--set", "stop={time: 1000 h}", "--quiet")
NOBODY = 65534
COLUMNS = ("what", "exit code", "message", "fault")


@contextmanager
def small_disk(folder, size="64k"):
    """Mount a disk of this size on a folder; raise OSError without permission."""
    folder.mkdir(parents=True, exist_ok=True)
    options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(["mount", *options], capture_output=True).returncode:
        raise OSError("this user may not mount a disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def grow(folder, options):
    """Remount the small disk with other options."""
    words = ["mount", "-o", f"remount,{options}", str(folder)]
    subprocess.run(words, check=True, capture_output=True)


@dataclass(frozen=True)
class Trouble:
    """A fault of a disk, and how to repair it."""

    what: str
    cause: Callable[[Path], None]
    cure: Callable[[Path], None]
    resumes: bool = True  # else the command had nothing to leave


def troubles():
    """Return the faults of the disk of a run."""
    return [
        Trouble("full", lambda disk: _fill(disk), lambda disk: _empty(disk)),
        Trouble(
            "read-only",
            lambda disk: grow(disk, "ro"),
            lambda disk: grow(disk, "rw,size=64m"),
        ),
        Trouble("too small", lambda disk: None, lambda disk: grow(disk, "size=64m")),
    ]


def _fill(disk):
    with (
        open(disk / "ballast", "wb", buffering=0) as file,
        contextlib.suppress(OSError),
    ):
        while True:
            file.write(bytes(1024))


def _empty(disk):
    (disk / "ballast").unlink()
    grow(disk, "size=64m")


def suffered(trouble, folder, digest):
    """Run on a faulty disk and again after its repair; return a row of figures."""
    with small_disk(folder) as disk:
        trouble.cause(disk)
        out = ("--out", disk / "run", "--resume")
        verdict = judged(*WORDS, *out, allowed=(2,), limit_s=60)
        row = {"what": trouble.what, "exit code": verdict.code}
        row |= {"message": verdict.said.strip(), "fault": verdict.fault}
        if not verdict.fault and str(disk) not in verdict.said:
            row["fault"] = "the message names no path"
        trouble.cure(disk)
        again = judged(*WORDS, *out, allowed=(0,), limit_s=60)
        row["fault"] = row["fault"] or again.fault
        if not row["fault"] and load_run(disk / "run").manifest.digest != digest:
            row["fault"] = "another digest after the cure"
        drafts = list(disk.rglob(".*.tmp"))
        row["fault"] = row["fault"] or "".join(f"orphan {path}" for path in drafts)
    return row


def _row(what, verdict, fault):
    row = {"what": what, "exit code": verdict.code, "fault": fault}
    return {**row, "message": verdict.said.strip()}


def refused_places(folder):
    """Yield a row for every path at which a run is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "file").write_text("mine")
    places = {
        "a file": folder / "file",
        "below a file": folder / "file" / "run",
        "a name too long": folder / ("x" * 300),
        "a path too long": folder.joinpath(*["y" * 200] * 30),
    }
    for what, place in places.items():
        verdict = judged(*WORDS, "--out", place, allowed=(2,), limit_s=60)
        yield _row(what, verdict, verdict.fault)
    assert (folder / "file").read_text() == "mine"


def vanished_part(folder, digest):
    """Delete a part of a finished run; return a row on the result."""
    out = ("--out", folder / "run", "--resume")
    judged(*WORDS, *out, limit_s=60)
    (folder / "run/trace/rounds/part-00000.parquet").unlink()
    verdict = judged("verify", folder / "run", allowed=(1,))
    again = judged(*WORDS, *out, allowed=(0,), limit_s=60)
    fault = verdict.fault or again.fault
    if not fault and load_run(folder / "run").rounds.empty:
        fault = "the part is not there again"
    if not fault and load_run(folder / "run").manifest.digest != digest:
        fault = "another digest than before"
    found = verdict.printed.strip().splitlines()[0]
    return {
        "what": "a part that vanished",
        "exit code": verdict.code,
        "message": found,
        "fault": fault,
    }


def held_by_another(folder, digest):
    """Start a run in a folder in use by another process; return a row on the
    message."""
    out = ("--out", folder / "run", "--resume")
    code = f"import sys; sys.argv = {['netsim', *LONG, *map(str, out)]!r}"
    code += "; from netsim.cli import main; main()"
    first = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    _wait_for(folder / "run" / FILE_NAME, first)
    verdict = judged(*WORDS, *out, allowed=(2,), limit_s=60)
    fault = verdict.fault
    if not fault and f"is in use by process {first.pid} on " not in verdict.said:
        fault = "the message does not say who holds it"
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=60)
    if not fault and first.returncode != 130:
        fault = f"the first one ended with exit code {first.returncode}"
    again = judged(*WORDS, *out, allowed=(0,), limit_s=60)
    fault = fault or again.fault
    if not fault and load_run(folder / "run").manifest.digest != digest:
        fault = "another digest when it was free again"
    return _row("a folder that another process writes", verdict, fault)


def _wait_for(path, process):
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)


def forbidden(folder, digest):
    """Run without, then with write permission; yield a row for a new folder and for a
    run to resume."""
    folder.mkdir(parents=True)
    begun = folder / "begun"
    judged(*WORDS, "--set", "stop={rounds: 2}", "--out", begun, limit_s=60)
    places = {"a new folder": folder / "new", "a run": begun}
    for what, place in places.items():
        out = ("--out", place, "--resume")
        verdict = _as_nobody(*WORDS, *out)
        fault = verdict.fault
        if not fault and not verdict.said.startswith(str(folder)):
            fault = "the message names no path"
        again = judged(*WORDS, *out, allowed=(0,), limit_s=60)
        fault = fault or again.fault
        if not fault and load_run(place).manifest.digest != digest:
            fault = "another digest as who may"
        yield _row(f"{what} that one may not write", verdict, fault)


def _as_nobody(*words):
    """Return the verdict on a command in a child without privileges."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        verdict = judged(*words, allowed=(2,), limit_s=60)
        with open(writing, "wb") as file:
            file.write(pickle.dumps(verdict))
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as file:
        verdict = pickle.loads(file.read())  # our own child's
    os.waitpid(pid, 0)
    return verdict


def right_digest(folder):
    """Return the digest of the run on an intact disk."""
    verdict = judged(*WORDS, "--out", folder, limit_s=60)
    assert (folder / FILE_NAME).exists(), verdict.said + verdict.fault
    return load_run(folder).manifest.digest


def _shown(message, folder):
    """Return a message for a table, without the folder's name."""
    text = " ".join(message.split()).replace(str(folder), "DIR")
    return text if len(text) <= 100 else f"{text[:40]} … {text[-50:]}"


def main():
    """Write ``disk.csv``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    shutil.rmtree(given.out, ignore_errors=True)
    given.out.mkdir(parents=True)
    given.out.chmod(0o755)  # for who has no rights to see it
    table = Table(given.out / "disk.csv", COLUMNS)
    for row in rows(given.out, right_digest(given.out / "right")):
        row["message"] = _shown(row["message"], given.out)
        table.put(row)
        print(row, flush=True)


def rows(folder, digest):
    """Yield a row for every fault of a disk."""
    yield from refused_places(folder / "places")
    yield vanished_part(folder / "vanished", digest)
    yield held_by_another(folder / "held", digest)
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        yield from forbidden(folder / "forbidden", digest)
        for trouble in troubles():
            yield suffered(trouble, folder / "disk", digest)


if __name__ == "__main__":
    main()
