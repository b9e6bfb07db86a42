"""A study that is killed repeatedly gives the tables of an undisturbed one.

python results/studies/kills.py FOLDER          # in processes: the study killed twice
python results/studies/kills.py FOLDER --ray    # on Ray: a worker, then the study

Runs the shipped study `bands` (3 policies, 4 bands, 3 seeds) untouched and then, with a
store of its own, under SIGKILL; compares the three tables byte by byte, and prints wall
times and the local steps that were trained and reused. FOLDER must not exist; the
untouched study is taken from FOLDER/../untouched where it is there.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import netsim

NUM_RUNS, WORKERS = 36, 2
TABLES = ("study", "curves", "summary")
START = "from netsim.cli import main\nif __name__ == '__main__':\n    main()\n"


def command(folder: Path, *more: str) -> list[str]:
    """Return the study's command, as a file that worker processes can read again."""
    script = folder.parent / "netsim_command.py"
    script.write_text(START)
    named = [sys.executable, str(script), "study", "bands", "--workers", str(WORKERS)]
    return [*named, "--out", str(folder), *more]


def started(folder: Path, *more: str) -> subprocess.Popen:
    """Start the study in its folder, with a store next to it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    cache = folder.with_name(f"{folder.name}-cache")
    with folder.with_name(f"{folder.name}.log").open("ab") as log:
        return subprocess.Popen(
            command(folder, *more),
            env={**os.environ, "XDG_CACHE_HOME": str(cache)},
            stdout=log,
            stderr=log,
        )


def num_finished(folder: Path) -> int:
    """Return how many runs have their adapter, which is written at the end."""
    return len(list(folder.glob("runs/*/*/adapter")))


def wait_for(folder: Path, num: int, study: subprocess.Popen) -> None:
    """Wait until this many runs are finished."""
    while num_finished(folder) < num:
        assert study.poll() is None, "it ended before it was killed"
        time.sleep(0.05)


def kill(study: subprocess.Popen) -> None:
    """Kill a study with SIGKILL."""
    study.send_signal(signal.SIGKILL)
    study.wait()


def ray_workers(study: subprocess.Popen) -> list[int]:
    """Return the workers of the cluster that a study has started."""
    listed = subprocess.run(
        ["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True
    )
    rows = [line.split(maxsplit=2) for line in listed.stdout.splitlines()[1:]]
    raylets = {row[0] for row in rows if row[1] == str(study.pid)}
    return [int(r[0]) for r in rows if r[1] in raylets and "ray::RayHand" in r[2]]


def timed(what: str, work: Callable[[], None]) -> float:
    """Return and print the seconds of some work."""
    start_s = time.perf_counter()
    work()
    taken_s = time.perf_counter() - start_s
    print(f"{what}: {taken_s:.0f} s", flush=True)
    return taken_s


def untouched(folder: Path, *more: str) -> None:
    """Run the study to its end."""
    assert started(folder, *more).wait() == 0, f"see {folder}.log"


def killed_twice(folder: Path) -> None:
    """Run the study, kill it after 5 runs and after 20, and let it end."""
    for num in (5, 20):
        study = started(folder)
        wait_for(folder, num, study)
        kill(study)
        print(f"  killed with {num_finished(folder)} runs finished", flush=True)
    untouched(folder)


def killed_on_ray(folder: Path) -> None:
    """Run the study on Ray, kill a worker after 4 runs and all of it after 15."""
    study = started(folder, "--ray", "auto")
    wait_for(folder, 4, study)
    victim = ray_workers(study)[0]
    os.kill(victim, signal.SIGKILL)
    print(f"  killed a worker with {num_finished(folder)} runs finished", flush=True)
    wait_for(folder, 15, study)
    kill(study)
    print(f"  killed it all with {num_finished(folder)} runs finished", flush=True)
    untouched(folder, "--ray", "auto")


def steps(folder: Path) -> tuple[int, int]:
    """Return the local steps trained and reused, from the finished runs."""
    runs = [netsim.load_run(path) for path in sorted(folder.glob("runs/*/*"))]
    assert len(runs) == NUM_RUNS
    manifests = [run.manifest for run in runs]
    return (
        sum(manifest.steps_trained for manifest in manifests),
        sum(manifest.steps_reused for manifest in manifests),
    )


def report(name: str, folder: Path) -> None:
    """Print the cost of a study."""
    trained, reused = steps(folder)
    share = reused / (trained + reused)
    print(f"{name}: {trained} steps trained, {reused} reused ({share:.1%})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ray", action="store_true")
    asked = parser.parse_args()
    folder, whole = asked.folder.resolve(), asked.folder.resolve().parent / "untouched"
    if not (whole / "summary.parquet").exists():
        timed("untouched", lambda: untouched(whole))
    way = killed_on_ray if asked.ray else killed_twice
    timed("killed, start-ups included", lambda: way(folder))
    for name, path in (("untouched", whole), ("killed", folder)):
        report(name, path)
    for table in TABLES:
        ours, theirs = (f / f"{table}.parquet" for f in (folder, whole))
        assert ours.read_bytes() == theirs.read_bytes(), f"{table} differs"
    print(f"{', '.join(TABLES)}: the same bytes")


if __name__ == "__main__":
    main()
