"""CPU time, peak memory and size of a run's report and timeline.

netsim run network-only --quiet --out RUN --set stop.rounds=1000 \
    --set population.num_clients=200
python tests/benchmarks/seeing.py RUN
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path

from netsim import load_run
from netsim.report import write_report
from netsim.timeline import write_timeline

WRITERS = {"report.html": write_report, "timeline.json.gz": write_timeline}


def measure(run: str, name: str) -> None:
    """Write one file of a run into a temporary folder and print its cost."""
    start_s = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        WRITERS[name](run, path)
        size_mb = path.stat().st_size / 1e6
    cpu_s = time.process_time() - start_s
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{name:18} {cpu_s:5.1f} s {peak_mib:5.0f} MiB {size_mb:6.2f} MB", flush=True)


def main() -> None:
    """Measure each file in its own process, for its peak memory."""
    run = sys.argv[1]
    for table in ("rounds", "tasks", "transfers", "bands"):
        print(f"{table:18} {len(load_run(run).table(table)):9,}")
    for name in WRITERS:
        process = multiprocessing.get_context("spawn").Process(
            target=measure, args=(run, name)
        )
        process.start()
        process.join()


if __name__ == "__main__":
    main()
