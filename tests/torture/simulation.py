"""The harness under every order of events: ``python -m tests.torture.simulation``.

Locks of folders and the store of finished learning, used by several processes of
several hosts and containers; who goes on next, and who is killed, follows from a seed.
"""

import argparse
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np

from fl.memory.files import YOUNG_S, is_draft
from fl.memory.store import Entry, Store
from netsim.core.locks import LOCK_FILE, UNNAMED_S, clear_lock, locked
from netsim.errors import InputError
from tests.torture.table import Table
from tests.torture.virtual_os import Machine, Process

COLUMNS = ("locks", "kills", "histories", "steps", "killed", "held", "read", "faults")
LOCKS = {"granted": 1.0, "refused": 0.0, "now and then": 0.5}
KILLS = {"none": 0.0, "some": 0.004}
NUM_KEYS = 4
LIMIT_BYTES = 1500  # of the store: some entries


def entry(number):
    """Return the only right content of a key."""
    return Entry({"number": number}, (np.full(40, number, dtype=np.float32),))


def key(number):
    """Return the key of a number; two share a folder."""
    return f"{number // 2:02d}{number:06d}"


class History:
    """One simulated history over a folder and a store, and what was wrong in it."""

    def __init__(self, seed, place, *, grants, kill_chance):
        self.machine = Machine(seed, kill_chance)
        self.folder, self.store = place / "run", place / "store"
        self.grants, self.place = grants, place
        self.inside, self.faults, self.counts = [], [], Counter()

    def play(self):
        """Run some processes to their end, then one more that finds all in order."""
        shutil.rmtree(self.place, ignore_errors=True)
        self.folder.mkdir(parents=True)
        (self.folder / "kept").write_text("so that the folder stays")
        rng = self.machine.rng
        stories = [(self._process(rng, 10 + n), self._story) for n in range(4)]
        with self.machine.in_charge():
            self.machine.run(stories)
            self.counts["killed"] = sum(one.is_dead for one, _ in stories)
            self._look_at([one for one, _ in stories])
            self.machine.kill_chance = 0.0
            last = Process(99, "host", "one", self.grants)
            self.machine.now_s += UNNAMED_S + 1
            self.machine.run([(last, self._find_in_order)])
            self._look_at([last])
        self.counts["steps"] = len(self.machine.log)
        return self

    def _process(self, rng, pid):
        """Return a process of some host; ids repeat between hosts and containers."""
        namespace = rng.choice(("one", "two"))
        shared = pid if rng.random() < 0.7 else 10
        host = rng.choice(("host", "other"))
        while any(
            (one.pid, one.host, one.namespace) == (shared, host, namespace)
            for one in self.machine.processes
        ):
            shared += 100
        found = Process(shared, host, namespace, self.grants)
        self.machine.processes.append(found)
        return found

    def _look_at(self, processes):
        self.faults += [f"{one.pid}: {one.fault}" for one in processes if one.fault]

    def _story(self, process):
        for _ in range(self.machine.rng.randint(2, 5)):
            self.machine.rng.choice(
                (self._hold, self._hold, self._write, self._read, self._tidy)
            )(process)

    def _hold(self, process):
        patience_s = self.machine.rng.choice((0.0, 3.0))
        try:
            with locked(self.folder, patience_s=patience_s):
                self.inside = [one for one in self.inside if not one.is_dead]
                if self.inside:
                    self.faults.append(f"{process.pid} and {self.inside[0].pid} inside")
                self.inside.append(process)
                self.counts["held"] += 1
                for _ in range(self.machine.rng.randint(1, 12)):
                    self.machine.step("work")
                self.inside.remove(process)
        except InputError as error:
            if "in use by" not in str(error):
                raise

    def _write(self, process):
        number = self.machine.rng.randrange(NUM_KEYS)
        Store(self.store, LIMIT_BYTES).remember(key(number), entry(number))

    def _read(self, process):
        number = self.machine.rng.randrange(NUM_KEYS)
        self._check(number, Store(self.store).recall(key(number), dict))

    def _check(self, number, found):
        if found is None:
            return
        self.counts["read"] += 1
        right = entry(number)
        if found.record != right.record or (found.arrays[0] != right.arrays[0]).any():
            self.faults.append(f"key {number} holds {found.record}")

    def _tidy(self, process):
        clear_lock(self.folder)
        Store(self.store).prune(self.machine.rng.choice((0, 300, LIMIT_BYTES)))

    def _find_in_order(self, process):
        """The folder can be held, its lock goes, entries are whole, old drafts go."""
        try:
            with locked(self.folder):
                pass
        except InputError as error:
            holder = json.loads((self.folder / LOCK_FILE).read_text())
            place = holder["host"], holder["pid_namespace"]
            if place == (process.host, process.namespace) or self.grants == 1.0:
                self.faults.append(f"held by nobody: {error}")
        else:
            if (self.folder / LOCK_FILE).exists():
                self.faults.append("a lock is left")
        for number in range(NUM_KEYS):
            self._check(number, Store(self.store).recall(key(number), dict))
        self.machine.now_s += 2 * YOUNG_S
        store = Store(self.store)
        store.files()
        left = [path.name for path in self.store.rglob("*") if is_draft(path)]
        self.faults += [f"left over: {name}" for name in left]
        store.remember(key(0), entry(0))
        if store.recall(key(0), dict) is None:
            self.faults.append("what was just kept is not there")


def play(seed, place, locks, kills):
    """Return a finished history."""
    grants, chance = LOCKS[locks], KILLS[kills]
    return History(seed, place, grants=grants, kill_chance=chance).play()


def main():
    """Write ``simulation.csv`` and what was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--histories", type=int, default=500, help="for each row")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    table = Table(given.out / "simulation.csv", COLUMNS, num_keys=2)
    for locks in LOCKS:
        for kills in KILLS:
            counts = Counter()
            for seed in range(given.first, given.first + given.histories):
                history = play(seed, given.out / "work", locks, kills)
                counts += Counter(histories=1, faults=bool(history.faults))
                counts += history.counts
                for fault in history.faults:
                    print(locks, kills, seed, fault, sep=" | ", flush=True)
            table.put({"locks": locks, "kills": kills, **counts})
            print(locks, kills, dict(counts), flush=True)


if __name__ == "__main__":
    main()
