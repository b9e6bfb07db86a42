"""Processes that start at once: each is a fork of one that has imported all.

A fresh interpreter imports torch, transformers and peft for some seconds. Only the
start differs here; the test beds and some tests start theirs as everyone does.
"""

import itertools
import multiprocessing
import os
import signal
import subprocess
import sys

import fl.workers.processes
from netsim.cli.main import main

PRELOADED = ("peft", "fl.federation.federation", "netsim.cosim.run", "netsim.cli.main")


start_server = fl.workers.processes.start_server


def start_warm_server(preload=()):
    """Start the server of all workers with every module that some worker imports."""
    start_server((*PRELOADED, *preload))


class ForkedWorkers:
    """Workers that are forks of the one that starts them; stands where
    `multiprocessing` does in `fl.workers.processes`."""

    def __init__(self):
        self._context = multiprocessing.get_context("fork")
        self.Pipe = self._context.Pipe

    @classmethod
    def install(cls):
        """Let this process start its workers so."""
        fl.workers.processes.HAS_SERVER = False
        fl.workers.processes.multiprocessing = cls()

    def get_context(self, method):
        return self

    def Process(self, target, args, daemon):
        return self._context.Process(target=_alone, args=(target, args), daemon=daemon)


def _alone(target, args):
    """Run a worker as a spawned one: SIGTERM ends it, and only its pipe is open, and
    what tells it that its parent has ended."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    kept = sorted((args[0].fileno(), multiprocessing.parent_process().sentinel))
    ends = (*kept, os.sysconf("SC_OPEN_MAX"))
    for before, after in itertools.pairwise((2, *ends)):
        os.closerange(before + 1, after)
    target(*args)


class WarmCommand:
    """A command that starts at once, and so do its workers; a part of
    ``subprocess.Popen``."""

    def __init__(self, words, environment, printed, said):
        start_warm_server()
        self._process = multiprocessing.get_context("forkserver").Process(
            target=_command, args=(environment, words, printed, said)
        )
        self._process.start()
        self.pid = self._process.pid

    def poll(self):
        """Return the exit code, None while it runs."""
        return self._process.exitcode

    def wait(self, timeout):
        """Return the exit code once it has ended."""
        self._process.join(timeout)
        if self.poll() is None:
            raise subprocess.TimeoutExpired("netsim", timeout)
        return self.poll()


def _command(environment, words, printed, said):
    """Become the command, at the head of its own process group."""
    os.environ.clear()
    os.environ.update(environment)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    os.setpgid(0, 0)
    for handle, path in ((1, printed), (2, said)):
        os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), handle)
    ForkedWorkers.install()
    sys.argv = ["netsim", *words]
    main()
