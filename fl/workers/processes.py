"""Workers that are processes of this machine, forks of one that has imported all."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.resource_tracker import ensure_running
from typing import Any, NamedTuple, TypeVar, cast

from fl.failure import FAR, failure
from fl.workers.executor import Death, Outcome, Spread

State = TypeVar("State")
HAS_SERVER = "forkserver" in multiprocessing.get_all_start_methods()


class ProcessWorker(NamedTuple):
    """A process, and what it is asked and answers through."""

    process: BaseProcess
    pipe: Connection[Any, Any]


@dataclass(frozen=True, slots=True)
class ProcessCrew:
    """Processes that each end with the one that started it.

    They are forks of a server, which imports the modules ``preload`` once; where the
    system has no fork, each is a fresh process.
    """

    size: int
    state: object
    preload: Sequence[str] = ()

    def prepare(self) -> None:
        if HAS_SERVER:
            start_server(self.preload)

    def start(self) -> ProcessWorker:
        self.prepare()
        method = "forkserver" if HAS_SERVER else "spawn"
        context: Any = multiprocessing.get_context(method)
        ours, theirs = context.Pipe()
        process = context.Process(
            target=_serve, args=(theirs, self.state, dict(os.environ)), daemon=True
        )
        with _interrupts_held():
            process.start()
        theirs.close()
        return ProcessWorker(process, ours)

    def give(self, worker: ProcessWorker, function: object, item: object) -> None:
        with suppress(BrokenPipeError):  # it died idle: seen when its answer is read
            worker.pipe.send((function, item))

    def wait(
        self, busy: Sequence[ProcessWorker]
    ) -> Sequence[tuple[ProcessWorker, Outcome[object] | Death]]:
        ready = wait([worker.pipe for worker in busy])
        return [(worker, _answer(worker)) for worker in busy if worker.pipe in ready]

    def end(self, worker: ProcessWorker) -> None:
        worker.process.terminate()
        worker.process.join()
        worker.pipe.close()

    def close(self) -> None:
        return None


def processes(
    num_workers: int, state: State, preload: Sequence[str] = ()
) -> Spread[State, ProcessWorker]:
    """Return an executor over processes, each with a copy of ``state``; they share the
    memory of the modules ``preload``, which are imported once."""
    return Spread(ProcessCrew(num_workers, state, preload))


def start_server(preload: Sequence[str]) -> None:
    """Start the server of all workers, unless it runs, and do not wait for it."""
    from multiprocessing import forkserver  # not on every system

    with _interrupts_held():
        forkserver.set_forkserver_preload(list(preload))
        forkserver.ensure_running()


def _answer(worker: ProcessWorker) -> Outcome[object] | Death:
    try:
        return cast("Outcome[object]", worker.pipe.recv())
    except (EOFError, ConnectionResetError):
        worker.process.join()
        return Death(f"exit code {worker.process.exitcode}")


def _serve(
    pipe: Connection[Any, Any], state: object, environment: Mapping[str, str]
) -> None:
    """Answer one piece of work after another until the pipe is closed."""
    os.environ.clear()  # the server's are those of its start
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    while True:
        try:
            function, item = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(applied(function, state, item))
        except BrokenPipeError:
            return


def applied(
    function: Callable[[object, object], object], state: object, item: object
) -> Outcome[object]:
    """Return what comes of one piece of work, with the traceback where it fails."""
    try:
        return Outcome(function(state, item))
    except Exception as error:
        told = error if _travels(error) else RuntimeError(repr(error))
        told.add_note(traceback.format_exc())
        vars(told)[FAR] = failure(error)
        return Outcome(None, told)


def _travels(error: Exception) -> bool:
    """Return whether an error can be made again in the process that asked."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # a user's error may fail in any way
        return False
    return True


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Start a process that no Ctrl-C reaches, not even before it has begun."""
    if sys.platform == "win32":
        yield
        return
    ensure_running()  # else the first start would, and let interrupts through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
