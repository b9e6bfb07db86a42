"""Several processes of several hosts in one: one at a time, chosen by a seed.

Each is a thread that stops before every operation on files, locks and clocks, until
the schedule lets it go on. A killed one loses its locks and what it had not flushed,
and none of its later operations has an effect.
"""

import builtins
import contextlib
import errno
import fcntl
import io
import os
import random
import socket
import tempfile
import threading
import time
from dataclasses import dataclass, field

FILES = (
    *("open", "stat", "unlink", "rename", "replace", "link", "mkdir", "rmdir"),
    *("ftruncate", "pwrite", "utime", "listdir", "access", "fsync", "fstat"),
)
STEP_S = 0.01


class Killed(BaseException):
    """The end of a process that was killed."""


@dataclass
class Process:
    """One simulated process: its name in its own namespace, and its state."""

    pid: int
    host: str
    namespace: str
    has_locks: float = 1.0  # how often the file system grants locks
    turn: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    wakes_s: float = 0.0
    is_dead: bool = False
    is_done: bool = False
    fault: str = ""


class Sorted:
    """A listing of a folder in the order of names, as ``os.scandir`` gives it."""

    def __init__(self, entries):
        self._entries = iter(sorted(entries, key=lambda entry: entry.name))

    def __iter__(self):
        return self._entries

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


class Machine:
    """Schedules processes; everything follows from the seed."""

    def __init__(self, seed, kill_chance=0.0):
        self.rng, self.kill_chance = random.Random(seed), kill_chance
        self.now_s, self.begun_s = 0.0, time.time()
        self.processes, self.log, self._owners = [], [], {}
        self._back, self._real = threading.Semaphore(0), {}
        self._own = threading.local()

    def run(self, stories):
        """Run (process, story) pairs until all have ended."""
        threads = []
        self.processes = [process for process, _ in stories]
        for process, story in stories:
            thread = threading.Thread(target=self._live, args=(process, story))
            threads.append(thread)
            thread.start()
        while waiting := [one for one in self.processes if not one.is_done]:
            awake = [one for one in waiting if one.wakes_s <= self.now_s]
            if not awake:
                self.now_s = min(one.wakes_s for one in waiting)
                continue
            chosen = self.rng.choice(awake)
            if self.rng.random() < self.kill_chance and not chosen.is_dead:
                self._kill(chosen)
            chosen.turn.release()
            self._back.acquire()
        for thread in threads:
            thread.join()

    def step(self, what=""):
        """Wait for this process's turn; a killed one goes no further."""
        process = self._own.process
        self._back.release()
        process.turn.acquire()
        self.now_s += STEP_S
        self.log.append((process.pid, process.host, what))
        if process.is_dead:
            raise Killed

    def me(self):
        """Return this thread's process, or None."""
        return getattr(self._own, "process", None)

    def _live(self, process, story):
        self._own.process = process
        process.turn.acquire()
        try:
            if not process.is_dead:
                story(process)
        except Killed:
            pass
        except BaseException as error:
            process.fault = f"{type(error).__name__}: {error}"
        process.is_done = True
        self._back.release()

    def _kill(self, process):
        process.is_dead = True
        nowhere = self._real["open"](os.devnull, os.O_RDWR)
        for handle, owner in self._owners.items():
            with contextlib.suppress(OSError):  # closed since
                if owner is process:
                    self._real["fstat"](handle)
                    os.dup2(nowhere, handle)  # which also gives up its lock
        self._real["close"](nowhere)

    @contextlib.contextmanager
    def in_charge(self):
        """Put this machine in the place of the system."""
        changed = [(os, name, self._operation(name)) for name in FILES]
        changed += [
            (os, "close", self._close),
            (os, "scandir", self._scandir),
            (os, "getpid", lambda: self._or("getpid", lambda one: one.pid)),
            (os, "kill", self._signal),
            (os, "readlink", self._readlink),
            (builtins, "open", self._file),
            (io, "open", self._file),
            (fcntl, "flock", self._flock),
            (socket, "gethostname", lambda: self._or("gethostname", lambda p: p.host)),
            (time, "time", self._time),
            (time, "monotonic", lambda: self._or("monotonic", lambda p: self.now_s)),
            (time, "sleep", self._sleep),
            (tempfile, "_get_candidate_names", self._names),
        ]
        before = [(room, name, getattr(room, name)) for room, name, _ in changed]
        self._real = {name: real for room, name, real in before if room is not io}
        self._real["file"] = self._real["open"] = builtins.open
        self._real["open"] = os.open
        try:
            for room, name, own in changed:
                setattr(room, name, own)
            yield self
        finally:
            for room, name, real in before:
                setattr(room, name, real)

    def _or(self, name, own):
        process = self.me()
        return self._real[name]() if process is None else own(process)

    def _operation(self, name):
        def called(*args, **kwargs):
            process = self.me()
            if process is None:
                return self._real[name](*args, **kwargs)
            self.step(name)
            found = self._real[name](*args, **kwargs)
            if name == "open":
                self._owners[found] = process
                if args[1] & os.O_CREAT:
                    self._real["utime"](found, (self._time(), self._time()))
            return found

        return called

    def _close(self, handle):
        if self.me() is not None:
            self._owners.pop(handle, None)
        self._real["close"](handle)

    def _scandir(self, *args):
        if self.me() is None:
            return self._real["scandir"](*args)
        self.step("scandir")
        return Sorted(self._real["scandir"](*args))

    def _file(self, *args, **kwargs):
        process = self.me()
        if process is None:
            return self._real["file"](*args, **kwargs)
        self.step("file")
        found = self._real["file"](*args, **kwargs)
        self._owners[found.fileno()] = process
        return found

    def _signal(self, pid, number):
        me = self.me()
        if me is None:
            return self._real["kill"](pid, number)
        self.step("kill")
        place = (pid, me.host, me.namespace)
        lives = [
            one
            for one in self.processes
            if (one.pid, one.host, one.namespace) == place
            and not (one.is_dead or one.is_done)
        ]
        if not lives:
            raise ProcessLookupError(errno.ESRCH, "no such process")
        return None

    def _readlink(self, path, *args, **kwargs):
        if self.me() is None or not str(path).startswith("/proc/self/ns"):
            return self._real["readlink"](path, *args, **kwargs)
        return self.me().namespace

    def _flock(self, handle, how):
        process = self.me()
        if process is None:
            return self._real["flock"](handle, how)
        self.step("flock")
        if self.rng.random() >= process.has_locks:
            raise OSError(errno.ENOLCK, "no locks")
        return self._real["flock"](handle, how)

    def _time(self):
        return self._or("time", lambda process: self.begun_s + self.now_s)

    def _sleep(self, seconds):
        process = self.me()
        if process is None:
            return self._real["sleep"](seconds)
        process.wakes_s = self.now_s + seconds
        return self.step("sleep")

    def _names(self):
        if self.me() is None:
            return self._real["_get_candidate_names"]()
        return iter(lambda: f"{self.rng.getrandbits(32):08x}", None)
