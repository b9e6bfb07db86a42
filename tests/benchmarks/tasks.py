"""Engine plus trace per client task with learning off, and the start-up of a run.

    python tests/benchmarks/tasks.py

A task is a download, a computation, an upload and all their rows. One process, CPU
seconds of the run alone; the start-up is a whole process with one round.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
from netsim.runs.manifest import Manifest

SIZES = ((20, 200), (1_000, 40), (10_000, 4))  # clients, rounds
FADING_SIZES = ((20, 200), (200, 20))  # every coherence time is a segment per sender


def run_once(*overrides: str) -> tuple[Manifest, float]:
    """Return a run's manifest and its CPU seconds."""
    scenario = read_scenario(find_scenario("network-only"), overrides)
    with tempfile.TemporaryDirectory() as folder:
        start_s = time.process_time()
        manifest = run_scenario(scenario, Path(folder))
        return manifest, time.process_time() - start_s


def num_rows(manifest: Manifest, table: str) -> int:
    return sum(part.num_rows for part in manifest.parts if part.table == table)


def start_up_s() -> float:
    """Return the CPU seconds of a process that runs one round of the network alone."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        code = "from netsim.cli import main; main()"
        command = [sys.executable, "-c", code, "run", "network-only", "--quiet"]
        command += ["--set", "stop.rounds=1", "--out", f"{folder}/run"]
        subprocess.run(command, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    print(f"start-up of a one-round run: {start_up_s():.2f} CPU s")
    rayleigh = "{kind: rayleigh, coherence_time: 50 ms}"
    for fading, sizes in (("none", SIZES), (rayleigh, FADING_SIZES)):
        print(f"fading {fading}")
        for num_clients, num_rounds in sizes:
            manifest, cpu_s = run_once(
                f"population.num_clients={num_clients}",
                f"stop.rounds={num_rounds}",
                f"cell.fading={fading}",
                f"cell.uplink.band={num_clients // 4} MHz",
                f"cell.uplink.radio.reference_band={num_clients // 4} MHz",
            )
            num_tasks = num_rows(manifest, "tasks")
            print(
                f"{num_clients:>7} clients: {num_tasks:>6} tasks, "
                f"{num_rows(manifest, 'segments') / num_tasks:>6.1f} segments each, "
                f"{1000 * cpu_s / num_tasks:.3f} ms per task"
            )


if __name__ == "__main__":
    main()
