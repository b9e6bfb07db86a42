"""The command line, called in this process with limits of time and memory."""

import contextlib
import io
import os
import re
import resource
import signal
import sys
import time
import traceback
import warnings
from dataclasses import dataclass

from netsim.cli.main import INTERRUPTED, main

LIMIT_S = 5.0  # of this process on a processor
PATIENCE = 12  # times as long on the clock on the wall, which others share
LIMIT_BYTES = 2**31  # to ask for, of which less than half may ever be in use
_PLACE = re.compile(r":\d+:\d+: ")


class TooSlow(BaseException):
    """A command exceeded its time limit."""


@dataclass(frozen=True)
class Verdict:
    """The end of a command: exit code, processor seconds, output and fault."""

    code: int
    seconds: float
    said: str
    fault: str = ""
    printed: str = ""
    is_slow: bool = False

    @property
    def has_place(self):
        """Whether the message has a line and a column."""
        return bool(_PLACE.search(self.said))


def limit_memory(num_bytes=LIMIT_BYTES):
    """Limit the private memory of this process."""
    resource.setrlimit(resource.RLIMIT_DATA, (num_bytes, num_bytes))


def judged(*words, allowed=(0, 2), limit_s=LIMIT_S):
    """Run ``netsim WORDS`` in this process and return the verdict."""
    out, err = io.StringIO(), io.StringIO()
    start_s, code, trouble, is_slow = time.process_time(), 0, "", False
    try:
        with _called(words, out, err), _alarm(limit_s):
            main()
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else int(bool(ending.code))
    except TooSlow:
        trouble, is_slow = f"took longer than {limit_s:g} s", True
    except BaseException:
        trouble = traceback.format_exc()
    if code == INTERRUPTED and code not in allowed:
        raise KeyboardInterrupt  # it was meant for the whole bed
    seconds, said = time.process_time() - start_s, err.getvalue()
    printed = out.getvalue()
    fault = trouble or _fault(code, said + printed, allowed)
    return Verdict(code, seconds, said, fault, printed, is_slow)


def _fault(code, said, allowed):
    """Return the fault of a command that ended without an exception."""
    if code not in allowed:
        return f"exit code {code}: {said}"
    if "Traceback (most recent" in said:
        return said
    if code and not said.strip():
        return f"exit code {code} without a word"
    return ""


@contextlib.contextmanager
def _called(words, out, err):
    """Call the program as a shell does; a warning is an error."""
    before = sys.argv
    sys.argv = ["netsim", *map(str, words)]
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("error")
            yield
    finally:
        sys.argv = before


@contextlib.contextmanager
def _alarm(limit_s):
    def ring(number, frame):
        raise TooSlow

    before = [(n, signal.signal(n, ring)) for n in (signal.SIGPROF, signal.SIGALRM)]
    signal.setitimer(signal.ITIMER_PROF, limit_s)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE * limit_s)
    try:
        yield
    finally:
        for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL):
            signal.setitimer(timer, 0)
        for number, handler in before:
            signal.signal(number, handler)


def peak_bytes():
    """Return the peak memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def quiet_environment(**more):
    """Return the environment variables for a child process."""
    return {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **more}
