"""A run with its own process group and store, for faults."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PROCESSES = Path("/proc")
OVERRIDES = (
    "stop.rounds=3",
    "learning.training.local_steps=12",
    "learning.cohort_size=3",
)
TWO = ("--workers", "2")
PATIENCE_S = 120


def fresh(words, environment, printed, said):
    """Start a command as everyone does, in a session of its own."""
    main = "from netsim.cli import main; main()"
    with printed.open("wb") as out, said.open("wb") as err:
        return subprocess.Popen(
            [sys.executable, "-c", main, *words],
            env=environment,
            start_new_session=True,
            stdout=out,
            stderr=err,
        )


class Faulty:
    """A run with its own process group and store."""

    def __init__(self, folder, cache, overrides=OVERRIDES, begin=fresh):
        self.folder, self.cache = folder, cache
        self._overrides, self._begin = overrides, begin
        self._process = None

    def words(self, *more):
        """Return the arguments of the command line."""
        sets = [f"--set={override}" for override in self._overrides]
        return ["run", "quickstart", *sets, "--out", str(self.folder), *more]

    def start(self, *more):
        environment = {
            **os.environ,
            "XDG_CACHE_HOME": str(self.cache),
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        outputs = (self._output(name) for name in ("out", "err"))
        self._process = self._begin(self.words(*more), environment, *outputs)
        return self

    def _output(self, name):
        return self.folder.with_name(f"{self.folder.name}.{name}")

    def workers(self):
        """Return the process ids of the workers."""
        parents = {pid: _parent_and_group(pid)[0] for pid in self.group()}
        return [
            pid
            for pid in parents
            if pid not in (self._process.pid, *parents.values())  # their server has any
            and "resource_tracker" not in _words(pid)
        ]

    def group(self):
        """Return the ids of the run's process and of its descendants."""
        pids = [int(path.name) for path in PROCESSES.iterdir() if path.name.isdigit()]
        return [p for p in pids if _parent_and_group(p)[1] == self._process.pid]

    def wait_for_learning(self, num_entries):
        """Wait until this many results are stored."""
        store = self.cache / "netsim" / "store"
        wait(lambda: sum(1 for _ in store.glob("??/*")) >= num_entries)
        return self

    def wait_for_training(self):
        """Wait until both workers run and the first merge is stored."""
        store = self.cache / "netsim" / "store"
        wait(lambda: len(self.workers()) == 2)
        wait(lambda: sum(1 for _ in store.glob("??/*")) >= 4)
        return self

    @property
    def is_over(self):
        """Return whether the run's process has ended."""
        return self._process.poll() is not None

    def kill(self, number):
        """Send a signal to the run's process alone."""
        os.kill(self._process.pid, number)

    def kill_all(self, number):
        """Send a signal to the run and its workers, as a terminal does."""
        os.killpg(self._process.pid, number)

    def end(self):
        """Return the exit code and the output."""
        code = self._process.wait(timeout=PATIENCE_S)
        return code, *(self._output(name).read_text() for name in ("out", "err"))

    def clear(self):
        for pid in self.group():
            os.kill(pid, signal.SIGKILL)
        self._process.wait(timeout=PATIENCE_S)


def _words(pid):
    try:
        return (PROCESSES / str(pid) / "cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def _parent_and_group(pid):
    """Return parent and group of a live process; None of a dead one or a zombie."""
    try:
        stat = (PROCESSES / str(pid) / "stat").read_text()
    except OSError:
        return None, None
    state, parent, group = stat.rpartition(")")[2].split()[:3]
    return (None, None) if state == "Z" else (int(parent), int(group))


def wait(is_so):
    """Wait until a condition is true; fail after a timeout."""
    until_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < until_s, "waited in vain"
        time.sleep(0.05)
