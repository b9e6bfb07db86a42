"""The same federated LoRA here and in the peers: cost of a local step, memory, result.

    python tests/benchmarks/peers/throughput.py PEERS [--seeds 1 2 3] [--out CSV]

PEERS holds the environments that ``build.sh`` made; who has none there is left out.
All ways take turns, once per seed. A step's cost is that of all rounds but the first
over their local steps: training, merge, evaluation, and whatever else a round takes.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
from export import export, scenario
from safetensors.numpy import load_file

HERE = Path(__file__).resolve().parent
PERIOD_S = 0.5  # between two looks at the memory
Row = dict[str, object]


def commands(peers: Path, folder: Path, seed: int) -> dict[str, list[str]]:
    """Return how each way is run."""
    here = [sys.executable, str(HERE / "in_netsim.py"), str(folder), str(seed)]
    bare = [sys.executable, str(HERE / "in_bare.py")]
    ways = {
        "bare peft loop": bare,
        "bare, summed backwards": [*bare, "backwards"],
        "netsim, cohorts of 20": [*here, "learning.cohort_size=20"],
        "netsim, one by one": [*here, "learning.cohort_size=1"],
    }
    for name, script in (("flower", "in_flower.py"), ("pfl", "in_pfl.py")):
        python = peers / name / "bin" / "python"
        if (peers / name / "versions.txt").exists():
            ways[name] = [str(python), str(HERE / script)]
    return ways


def environment(work: Path, folder: Path) -> dict[str, str]:
    """Return the environment of a run: one thread, and no usage reports."""
    paths = [str(HERE), str(HERE.parents[2])]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": "1",
        "PEER_WORK": str(work),
        "PEER_MARKS": str(folder / "marks.jsonl"),
        "FLWR_TELEMETRY_ENABLED": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "HF_HUB_OFFLINE": "1",
    }


def family_bytes(process: psutil.Process) -> int:
    """Return the proportional set size of a process and all below it."""
    total = 0
    for one in (process, *process.children(recursive=True)):
        try:
            total += one.memory_full_info().pss
        except psutil.Error:
            continue
    return total


def peak_bytes(started: subprocess.Popen) -> int:
    """Wait for a process; return the most memory that its family had at a look."""
    peaks = [0]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(PERIOD_S):
            try:
                peaks.append(family_bytes(psutil.Process(started.pid)))
            except psutil.Error:
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = started.wait()
    over.set()
    watcher.join()
    if code:
        raise SystemExit(f"exit code {code}: {started.args}")
    return max(peaks)


def run(command: Sequence[str], work: Path, folder: Path, log: Path) -> Row:
    """Return what one way of doing the work took and came to."""
    settings = json.loads((work / "work.json").read_text())
    per_round = settings["clients"] * settings["steps"]
    with log.open("a") as file:
        begun_s = time.time()
        peak = peak_bytes(
            subprocess.Popen(
                command, env=environment(work, folder), stdout=file, stderr=file
            )
        )
    lines = (folder / "marks.jsonl").read_text().splitlines()
    marks = {row["round"]: row for row in map(json.loads, lines)}
    first, last = marks[1], marks[settings["rounds"]]
    steps = (settings["rounds"] - 1) * per_round
    cpu_s = (last["cpu_s"] - first["cpu_s"]) / steps
    wall_s = (last["wall_s"] - first["wall_s"]) / steps
    return {
        "cpu_ms_per_step": 1000 * cpu_s,
        "wall_ms_per_step": 1000 * wall_s,
        "start_cpu_s": first["cpu_s"] - cpu_s * per_round,
        "start_wall_s": first["wall_s"] - begun_s - wall_s * per_round,
        "total_cpu_s": last["cpu_s"],
        "peak_mib": peak / 2**20,
        "accuracy": last["accuracy"],
    }


def gap(folder: Path, reference: Path) -> float:
    """Return the largest difference of two adapters' numbers."""
    ours, theirs = (
        load_file(f / "adapter_model.safetensors") for f in (folder, reference)
    )
    assert ours.keys() == theirs.keys()
    return max(float(abs(ours[name] - theirs[name]).max()) for name in ours)


def rows(peers: Path, place: Path, seed: int, only: list[str] | None) -> Iterator[Row]:
    """Yield what each way took and came to, with one seed."""
    work = place / "work"
    export(scenario(seed), work)
    first: Path | None = None
    for way in commands(peers, work, seed):
        if only and not way.startswith(tuple(only)):
            continue
        folder = place / way.replace(" ", "-")
        folder.mkdir()
        first = first or folder
        command = commands(peers, folder, seed)[way]
        taken = run(command, work, folder, peers / "throughput.log")
        yield {"way": way, "seed": seed, **taken, "adapter_gap": gap(folder, first)}


def append(path: Path, row: Row) -> None:
    """Add a row to a table, with a header to a new one."""
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row), lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(row)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peers", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", nargs="*", help="ways, by their first words")
    asked = parser.parse_args()
    for seed in asked.seeds:
        with tempfile.TemporaryDirectory() as place:
            for row in rows(asked.peers, Path(place), seed, asked.only):
                shown = {k: f"{v:.4g}" for k, v in row.items() if isinstance(v, float)}
                print(seed, row["way"], shown, flush=True)
                if asked.out is not None:
                    append(asked.out, row)


if __name__ == "__main__":
    main()
