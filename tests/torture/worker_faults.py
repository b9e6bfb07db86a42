"""Runs whose workers fail: one is killed, memory runs out, or all get a signal.

``python -m tests.torture.worker_faults --times 10 --out DIR``
"""

import argparse
import json
import os
import resource
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

from netsim import load_run
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
from netsim.verify import verify
from tests.torture.crash import COLUMNS, GO_ON
from tests.torture.faulty import OVERRIDES, TWO, Faulty
from tests.torture.learned import new_cache
from tests.torture.poison import HUNGER_BYTES, Hungry
from tests.torture.shapes import seeded
from tests.torture.table import Table

WHAT = "quickstart, 2 workers"
HUNGRY = (*OVERRIDES, f"learning.task={{kind: '{Hungry.__module__}:Hungry'}}")
NO_MEMORY = "learning.cohort_size: training needs more memory than there is"
LATEST_S = 1.5  # after both workers have trained for the first time


def killed_worker(run, rng):
    """Kill one worker; the run continues by itself."""
    run.start(*TWO, "--quiet").wait_for_training()
    _later(rng)
    for pid in run.workers()[:1]:
        _sent(pid, signal.SIGKILL)
    code, _, said = run.end()
    return code, [] if code == 0 else [f"exit code {code}: {said}"]


def starved_workers(run, rng):
    """Forbid the workers more memory: the run reports it and can be resumed."""
    run.start(*TWO, "--quiet").wait_for_training()
    for pid in run.workers():
        _starve(pid)
    code, _, said = run.end()
    wrong = []
    if code not in (0, 2):  # 0: all was trained already
        wrong.append(f"exit code {code}: {said}")
    if code == 2 and not said.partition("\n")[2].startswith(NO_MEMORY):
        wrong.append(said)
    if code == 2 and load_run(run.folder).manifest.status != "failed":
        wrong.append("the manifest does not say that it failed")
    return code, wrong


def _starve(pid):
    try:
        resource.prlimit(pid, resource.RLIMIT_AS, (HUNGER_BYTES // 2,) * 2)
    except ProcessLookupError:
        return


def ended_group(number):
    """Return a fault that signals the run and its workers, as a terminal or a batch
    system does."""

    def fault(run, rng):
        run.start(*TWO, "--quiet").wait_for_training()
        _later(rng)
        for pid in run.group():
            _sent(pid, number)
        code, _, said = run.end()
        wrong = [] if code in (0, 130) else [f"exit code {code}: {said}"]
        if code == 130 and not GO_ON.search(said):
            wrong.append(f"no word on how to go on: {said}")
        return code, wrong

    return fault


FAULTS = {
    "a worker killed": (OVERRIDES, killed_worker),
    "no memory in workers": (HUNGRY, starved_workers),
    "SIGTERM to all": (OVERRIDES, ended_group(signal.SIGTERM)),
    "SIGINT to all": (OVERRIDES, ended_group(signal.SIGINT)),
}


def _later(rng):
    time.sleep(rng.uniform(0, LATEST_S))


def _sent(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def suffered(overrides, fault, digest, folder, rng):
    """Apply a fault to a run and continue to its end; return counts and faults."""
    shutil.rmtree(folder, ignore_errors=True)
    run = Faulty(folder / "run", new_cache(folder / "cache"), overrides)
    try:
        code, wrong = fault(run, rng)
        counts = Counter({"kills": 1, "in time": code != 0})
        said = ""
        if code:
            counts["resumes"] += 1
            again, _, said = run.start("--resume", "--quiet").end()
            wrong += [f"resumed, exit code {again}: {said}"] if again else []
        return counts, wrong + wrong_in_the_end(run, digest, said)
    finally:
        run.clear()


def wrong_in_the_end(run, digest, said):
    """Return the differences from an undisturbed run."""
    wrong = ["a traceback"] if "Traceback" in said else []
    if load_run(run.folder).manifest.digest != digest:
        wrong.append("another digest")
    wrong += map(str, verify(run.folder))
    wrong += [f"orphan {path}" for path in run.folder.rglob(".*") if path.is_file()]
    return wrong


def right_digest(overrides, folder):
    """Return the digest of an undisturbed run with these settings."""
    shutil.rmtree(folder, ignore_errors=True)
    config = read_scenario(find_scenario("quickstart"), overrides)
    return run_scenario(config, folder, reuse=False).digest


def main():
    """Write ``crash.csv`` and what was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", default=list(FAULTS))
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    table = Table(given.out / "crash.csv", COLUMNS, num_keys=2)
    with (given.out / "faults.txt").open("w") as log:
        for by in given.only:
            overrides, fault = FAULTS[by]
            start_s = time.monotonic()
            digest = right_digest(overrides, given.out / "right")
            row = {"what": WHAT, "by": by, "faults": 0}
            row["seconds undisturbed"] = round(time.monotonic() - start_s, 2)
            counts = Counter()
            for attempt in range(given.times):
                rng = seeded(given.seed, by, attempt)
                more, wrong = suffered(
                    overrides, fault, digest, given.out / "suffered", rng
                )
                counts += more
                row["faults"] += len(wrong)
                print(*wrong, sep="\n", end="", file=log, flush=True)
                table.put({**row, **counts})
            print(json.dumps({**row, **counts}), flush=True)


if __name__ == "__main__":
    main()
