"""Pieces of work for executors; workers import them from here."""

import os
import signal
import sys
import time


def plus(state, item):
    return state + item


def refuse_three(state, item):
    if item >= 3:
        raise ValueError(f"{item} is too much")
    return item


def die_for_want_of(path, item):
    """Die where the file is absent, and leave it to those who come after."""
    if item == 1 and not path.exists():
        path.touch()
        os._exit(9)
    return item


def die(state, item):
    os._exit(9)


def say_who(state, item):
    time.sleep(0.05)
    return os.getpid()


def is_interrupt_held(state, item):
    """Return whether a Ctrl-C is held back from this process."""
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def say_module(state, name):
    """Return whether a module was imported before this worker began."""
    return name in sys.modules


def say_variable(state, name):
    return os.environ.get(name)
