"""Random valid scenarios: ``python -m tests.torture.swarm --cases 5000 --out DIR``.

Each runs once, every tenth twice; its tables are judged by invariants written apart
from ``netsim verify``, which must agree. A fault is shrunk into a scenario of its own.
"""

import argparse
import shutil
from collections import Counter
from functools import partial
from pathlib import Path

import yaml

from netsim.runs.manifest import read_manifest
from tests.torture.judging import judged, limit_memory
from tests.torture.swarm.oracle import wrong
from tests.torture.swarm.scenarios import SERVERS, scenario
from tests.torture.swarm.shrinking import shrunk
from tests.torture.swarm.tables import Tables
from tests.torture.table import Table

COLUMNS = ("server", "cases", "refused", "tasks", "transfers", "slow", "faults")
LIMIT_S = 20.0
AGAIN = 10  # every nth case runs twice


class Trial:
    """One run of a scenario in a folder, and what is wrong with it."""

    def __init__(self, case, folder, is_twice=False):
        self.case, self.tables, self.is_slow = case, None, False
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        path, out = folder / "scenario.yaml", folder / "run"
        path.write_text(yaml.safe_dump(case, sort_keys=False))
        call = partial(judged, "run", path, "--quiet", "--out", limit_s=LIMIT_S)
        run = call(out)
        self.is_refused, self.is_slow = run.code == 2 and not run.fault, run.is_slow
        self.faults = [f"run: {run.fault}"] if run.fault and not run.is_slow else []
        if self.is_refused or self.faults or self.is_slow:
            return
        self.tables = Tables(out)
        self.faults += wrong(self.tables, case)
        audit = judged("verify", out, allowed=(0,), limit_s=LIMIT_S)
        self.faults += [f"verify: {audit.fault}"] if audit.fault else []
        if is_twice and not call(folder / "again").fault:
            digests = [read_manifest(folder / name).digest for name in ("run", "again")]
            self.faults += [] if len(set(digests)) == 1 else ["again: another digest"]

    @property
    def checks(self):
        """Return the names of the checks that failed."""
        return {fault.split(":")[0] for fault in self.faults}

    @property
    def counts(self):
        """Return the row's figures."""
        tables = self.tables
        return Counter(
            cases=1,
            refused=self.is_refused,
            tasks=len(tables.tasks) if tables else 0,
            transfers=len(tables.transfers) if tables else 0,
            slow=self.is_slow,
            faults=bool(self.faults),
        )


def keep(trial, number, given):
    """Write a fault and the smallest scenario that has it."""
    place = given.out / "work"

    def is_wrong(case):
        return trial.checks & Trial(case, place).checks

    text = yaml.safe_dump(shrunk(trial.case, is_wrong), sort_keys=False)
    said = "".join(f"# {one}\n" for one in "\n".join(trial.faults).splitlines()[:20])
    (given.out / f"fault-{given.seed}-{number}.yaml").write_text(said + text)


def main():
    """Write ``swarm.csv`` and a scenario for each fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=SERVERS, default=SERVERS)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    limit_memory()
    given.out.mkdir(parents=True, exist_ok=True)
    table = Table(given.out / "swarm.csv", COLUMNS)
    counts = {kind: Counter() for kind in SERVERS}
    for number in range(given.first, given.first + given.cases):
        case, _ = scenario(given.seed, number)
        if case["server"]["kind"] not in given.only:
            continue
        trial = Trial(case, given.out / "work", number % AGAIN == 0)
        kind = case["server"]["kind"]
        counts[kind] += trial.counts
        table.put({"server": kind, **counts[kind]})
        if trial.faults:
            print(number, kind, *trial.faults[:3], flush=True)
            keep(trial, number, given)
    print({kind: dict(found) for kind, found in counts.items()})


if __name__ == "__main__":
    main()
