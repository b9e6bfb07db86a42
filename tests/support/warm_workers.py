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


def forked():
    """Return where processes start as forks of one that has imported all."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    return context


def in_environment(environment, target, args):
    """Run a worker in the environment of the one that started it."""
    os.environ.clear()
    os.environ.update(environment)
    target(*args)


class WarmWorkers:
    """Stands where `multiprocessing` does in `fl.workers.processes`."""

    def __init__(self, context=None):
        self._context = context or forked()
        self.Pipe = self._context.Pipe

    def get_context(self, method):
        assert method == "spawn"
        return self

    def Process(self, target, args, daemon):
        arguments = (dict(os.environ), target, args)
        return self._context.Process(
            target=in_environment, args=arguments, daemon=daemon
        )


class ForkedWorkers(WarmWorkers):
    """Workers that are forks of the one that starts them."""

    def __init__(self):
        super().__init__(multiprocessing.get_context("fork"))

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
        arguments = (environment, _command, (words, printed, said))
        self._process = forked().Process(target=in_environment, args=arguments)
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


def _command(words, printed, said):
    """Become the command, at the head of its own process group."""
    os.setpgid(0, 0)
    for handle, path in ((1, printed), (2, said)):
        os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), handle)
    fl.workers.processes.multiprocessing = ForkedWorkers()
    sys.argv = ["netsim", *words]
    main()
