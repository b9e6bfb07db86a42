"""Worker processes that start at once: each is a fork of one that has imported all.

A spawned worker imports torch, transformers and peft for some seconds. Only the start
differs here; `tests/workers` and the test beds start theirs as everyone does.
"""

import multiprocessing
import os

PRELOADED = ("peft", "fl.federation.federation", "netsim.cosim.run", "netsim.cli.main")


def in_environment(environment, target, args):
    """Run a worker in the environment of the one that started it."""
    os.environ.clear()
    os.environ.update(environment)
    target(*args)


class WarmWorkers:
    """Stands where `multiprocessing` does in `fl.workers.processes`."""

    def __init__(self):
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(PRELOADED))
        self.Pipe = self._context.Pipe

    def get_context(self, method):
        assert method == "spawn"
        return self

    def Process(self, target, args, daemon):
        arguments = (dict(os.environ), target, args)
        return self._context.Process(
            target=in_environment, args=arguments, daemon=daemon
        )
