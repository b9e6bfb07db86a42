"""Hosts and containers on one folder and one cache: ``python -m tests.torture.hosts``.

Each process has its own process ids and host name, in namespaces of Linux, and is of a
user of its own where root starts them. They race for a folder's lock and share a store;
in every other race the first one is killed.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from fl.memory.store import Store
from netsim.core.locks import LOCK_FILE, locked
from tests.torture.simulation import LIMIT_BYTES, NUM_KEYS, entry, key
from tests.torture.table import Table

COLUMNS = ("killed", "races", "processes", "held", "read", "faults")
IS_ROOT = os.geteuid() == 0
FIRST_USER = 64_000
APART = ("unshare", "-mp" if IS_ROOT else "-Urmp", "--uts", "--fork")
APART += ("--kill-child", "--mount-proc")
NUM_HOSTS = 3
TURNS = 15


def has_namespaces():
    """Return whether this system lets a user make namespaces."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*APART, "true"], capture_output=True).returncode == 0


def take_turns(place, seed, dead):
    """Hold the folder some times, and use the store there; return what was wrong.

    Who was killed, ``dead``, may have left its name inside.
    """
    rng, store = random.Random(seed), Store(place / "store", LIMIT_BYTES)
    found = Counter()
    inside = place / "run" / f"inside-{seed}"
    for _ in range(TURNS):
        with locked(place / "run", patience_s=60):
            others = {path.name for path in inside.parent.glob("inside-*")}
            found["faults"] += bool(others - {f"inside-{dead}"})
            inside.touch()
            number = rng.randrange(NUM_KEYS)
            store.remember(key(number), entry(number))
            time.sleep(0.002)
            inside.unlink()
        found["held"] += 1
        number = rng.randrange(NUM_KEYS)
        got = store.recall(key(number), dict)
        if got is not None:
            found["read"] += 1
            found["faults"] += got.record != {"number": number}
    return found


def started(place, number, seed, dead):
    """Start a process on a host of its own."""
    script = f"hostname host{number % 2} && exec {sys.executable} -m {__spec__.name}"
    words = f"{script} --turns-in {place} --seed {seed} --dead {dead}"
    if IS_ROOT:
        words += f" --user {FIRST_USER + number}"
    return subprocess.Popen(
        [*APART, "sh", "-c", words], stdout=subprocess.PIPE, text=True
    )


def become(user):
    """Go on as another user; all of them share what is below the place."""
    os.umask(0)
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)


def race(seed, kills):
    """Return the counts of one race."""
    with tempfile.TemporaryDirectory() as name:  # where every user gets to
        return _race(Path(name), seed, kills)


def _race(place, seed, kills):
    for folder in (place, place / "run", place / "store"):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)
    (place / "run" / "kept").touch()
    first = seed * NUM_HOSTS
    dead = first if kills else -1
    crowd = [started(place, n, first + n, dead) for n in range(NUM_HOSTS)]
    if kills:
        while not list((place / "run").glob("inside-*")) and crowd[0].poll() is None:
            time.sleep(0.001)
        crowd[0].send_signal(signal.SIGKILL)  # and its child with it
        crowd[0].wait()
    found = Counter(races=1, processes=NUM_HOSTS)
    for number, one in enumerate(crowd):
        said, _ = one.communicate(timeout=300)
        if kills and not number:
            continue
        counts = dict(word.split("=") for word in said.split())
        found += Counter({name: int(value) for name, value in counts.items()})
        found["faults"] += one.returncode != 0 or int(counts.get("held", 0)) != TURNS
    found["faults"] += (place / "run" / LOCK_FILE).exists()
    return found


def main():
    """Write ``hosts.csv``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--races", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--turns-in", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--dead", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--user", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.user:
        become(given.user)
    if given.turns_in:
        found = take_turns(given.turns_in, given.seed, given.dead)
        print(*(f"{name}={value}" for name, value in found.items()))
        return
    given.out.mkdir(parents=True, exist_ok=True)
    table = Table(given.out / "hosts.csv", COLUMNS)
    for kills in (False, True):
        counts = Counter()
        for number in range(given.races):
            counts += race(given.seed + number, kills)
            table.put({"killed": "the first" if kills else "none", **counts})
        print(kills, dict(counts), flush=True)


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    main()
