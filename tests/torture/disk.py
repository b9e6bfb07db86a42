"""Disks that are full, read-only or not ours: one clear message, nothing finished is
lost, and the run goes on when the cause is gone. A small tmpfs needs root on Linux.

``python -m tests.torture.disk --out DIR``
"""

import argparse
import contextlib
import csv
import os
import shutil
import subprocess
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from netsim import load_run
from netsim.manifest import FILE_NAME

from .judging import judged

WORDS = ("run", "network-only", "--set", "stop={rounds: 20}", "--quiet")
COLUMNS = ("what", "exit code", "message", "fault")


@contextmanager
def small_disk(folder, size="64k"):
    """Mount a disk of so many bytes on a folder; raises OSError where one may not."""
    folder.mkdir(parents=True, exist_ok=True)
    options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(["mount", *options], capture_output=True).returncode:
        raise OSError("this user may not mount a disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def grow(folder, options):
    """Mount the small disk on a folder anew, with other options."""
    words = ["mount", "-o", f"remount,{options}", str(folder)]
    subprocess.run(words, check=True, capture_output=True)


@dataclass(frozen=True)
class Trouble:
    """Something wrong with a disk, and how it is put right again."""

    what: str
    cause: Callable[[Path], None]
    cure: Callable[[Path], None]
    resumes: bool = True  # else the command had nothing to leave


def troubles():
    """Return what can be wrong with the disk that a run is written on."""
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
    """Run on a disk in trouble and again on a good one; return a row of figures."""
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


def refused_places(folder):
    """Yield a row for every place that no run may be written to."""
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
        yield {
            "what": what,
            "exit code": verdict.code,
            "message": verdict.said.strip(),
            "fault": verdict.fault,
        }
    assert (folder / "file").read_text() == "mine"


def vanished_part(folder, digest):
    """Let a finished run lose a part; return a row on how it goes on."""
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


def right_digest(folder):
    """Return the digest of the run on a good disk."""
    verdict = judged(*WORDS, "--out", folder, limit_s=60)
    assert (folder / FILE_NAME).exists(), verdict.said + verdict.fault
    return load_run(folder).manifest.digest


def _shown(message, folder):
    """Return a message as a table can show it, whatever the folder's name."""
    text = " ".join(message.split()).replace(str(folder), "DIR")
    return text if len(text) <= 100 else f"{text[:40]} … {text[-50:]}"


def main():
    """Write ``disk.csv``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    shutil.rmtree(given.out, ignore_errors=True)
    given.out.mkdir(parents=True)
    digest = right_digest(given.out / "right")
    rows = [*refused_places(given.out / "places"), vanished_part(given.out, digest)]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        rows += [suffered(t, given.out / "disk", digest) for t in troubles()]
    for row in rows:
        row["message"] = _shown(row["message"], given.out)
    with (given.out / "disk.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        print(row)


if __name__ == "__main__":
    main()
