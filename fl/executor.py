"""Where work is done: in this process, or spread over several of them.

An executor holds one state per worker, such as a resident model, and applies importable
functions to it and to one item after another. What comes back never depends on which
executor it was.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, cast

Item = TypeVar("Item")
Result = TypeVar("Result")
State_co = TypeVar("State_co", covariant=True)
MAX_TRIES = 2


class Executor(Protocol[State_co]):
    """Applies a function to a state and to each of some items."""

    def map(
        self, function: Callable[[State_co, Item], Result], items: Sequence[Item]
    ) -> Iterator[Result]:
        """Yield the results in the items' order; the first error in it is raised."""

    def close(self) -> None:
        """End the workers at once, whatever they are at."""


class WorkerDied(RuntimeError):
    """A worker process ended under a piece of work, and another one did, too."""


@dataclass(frozen=True, slots=True)
class Inline(Generic[State_co]):
    """One piece of work after another, in this process."""

    state: State_co

    def map(
        self, function: Callable[[State_co, Item], Result], items: Sequence[Item]
    ) -> Iterator[Result]:
        for item in items:
            yield function(self.state, item)

    def close(self) -> None:
        return None


class _Outcome(NamedTuple):
    result: object
    error: BaseException | None


class _Worker(NamedTuple):
    process: BaseProcess
    pipe: Connection[Any, Any]

    def end(self) -> None:
        self.process.terminate()
        self.process.join()
        self.pipe.close()


class Processes(Generic[State_co]):
    """Work spread over fresh processes, which start at the first need.

    Each has its own copy of ``state``, made once. Work under which a process dies is
    done once more by another one. A process ends with the one that started it.
    """

    def __init__(self, num_workers: int, state: State_co) -> None:
        self._num_workers = num_workers
        self._state = state
        self._idle: list[_Worker] = []
        self._busy: dict[Connection[Any, Any], tuple[_Worker, int]] = {}

    def map(
        self, function: Callable[[State_co, Item], Result], items: Sequence[Item]
    ) -> Iterator[Result]:
        waiting = deque(range(len(items)))
        done: dict[int, _Outcome] = {}
        num_deaths: Counter[int] = Counter()
        try:
            for index in range(len(items)):
                while True:
                    self._hand_out(function, items, waiting)
                    if index in done:
                        break
                    self._collect(done, waiting, num_deaths)
                outcome = done.pop(index)
                if outcome.error is not None:
                    raise outcome.error
                yield cast(Result, outcome.result)
        finally:  # what is under way still is of no use to anybody
            self._end_busy()

    def close(self) -> None:
        self._end_busy()
        while self._idle:
            self._idle.pop().end()

    def _hand_out(
        self,
        function: Callable[[State_co, Item], Result],
        items: Sequence[Item],
        waiting: deque[int],
    ) -> None:
        """Give waiting work to who is idle, and start who is missing."""
        while waiting and len(self._busy) < self._num_workers:
            worker = self._idle.pop(0) if self._idle else self._started()
            index = waiting.popleft()
            self._busy[worker.pipe] = (worker, index)
            try:
                worker.pipe.send((function, items[index]))
            except BrokenPipeError:
                continue  # it died while idle: seen when its answer is read

    def _collect(
        self,
        done: dict[int, _Outcome],
        waiting: deque[int],
        num_deaths: Counter[int],
    ) -> None:
        """Wait for an answer or a death, and note it."""
        for pipe in wait(list(self._busy)):
            worker, index = self._busy.pop(cast("Connection[Any, Any]", pipe))
            try:
                done[index] = _Outcome(*worker.pipe.recv())
                self._idle.append(worker)
            except (EOFError, ConnectionResetError):
                worker.end()
                num_deaths[index] += 1
                if num_deaths[index] < MAX_TRIES:
                    waiting.appendleft(index)
                else:
                    done[index] = _Outcome(None, _death(worker.process.exitcode))

    def _started(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=_serve, args=(theirs, self._state), daemon=True
        )
        with _interrupts_held():
            process.start()
        theirs.close()
        return _Worker(process, ours)

    def _end_busy(self) -> None:
        while self._busy:
            _, (worker, _) = self._busy.popitem()
            worker.end()


def _serve(pipe: Connection[Any, Any], state: object) -> None:
    """Answer one piece of work after another until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    while True:
        try:
            function, item = pipe.recv()
        except EOFError:
            return
        answer: tuple[object, BaseException | None]
        try:
            answer = (function(state, item), None)
        except Exception as error:
            error.add_note(traceback.format_exc())
            answer = (None, error)
        try:
            pipe.send(answer)
        except BrokenPipeError:
            return


def _death(exit_code: int | None) -> WorkerDied:
    return WorkerDied(
        f"{MAX_TRIES} worker processes in a row ended with exit code {exit_code} over "
        "the same piece of work; too little memory is the usual reason: use fewer "
        "workers. A script of your own needs `if __name__ == '__main__':` around what "
        "it runs"
    )


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Start a process that no Ctrl-C reaches, not even before it has begun."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
