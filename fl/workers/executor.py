"""Where work is done: in this process, or spread over several workers.

An executor holds one state per worker, such as a loaded model, and applies importable
functions to it and to one item after another. What comes back never depends on which
executor it was.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar, cast

Item = TypeVar("Item")
Result = TypeVar("Result")
State_co = TypeVar("State_co", covariant=True)
Worker = TypeVar("Worker")
MAX_TRIES = 2


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Result]):
    """What came of one item: a result, or the error in place of it."""

    value: Result | None
    error: Exception | None = None

    @property
    def result(self) -> Result:
        """Return the result; raises the error where there is none."""
        if self.error is not None:
            raise self.error
        return cast(Result, self.value)


class Executor(Protocol[State_co]):
    """Applies a function to a state and to each of some items."""

    def prepare(self) -> None:
        """Begin to start what takes long to start, since there will be work."""

    def map(
        self, function: Callable[[State_co, Item], Result], items: Sequence[Item]
    ) -> Iterator[Result]:
        """Yield the results in the items' order; the first error in it is raised."""

    def completed(
        self, function: Callable[[State_co, Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[int, Outcome[Result]]]:
        """Yield each item's index and outcome, as they come."""

    def close(self) -> None:
        """End the workers at once, whatever they are at."""


class NoCluster(ValueError):
    """Ray is not installed, cannot be reached, or runs other software."""


class WorkerDied(RuntimeError):
    """A worker ended under a piece of work, and another one did, too."""


@dataclass(frozen=True, slots=True)
class Inline(Generic[State_co]):
    """One piece of work after another, in this process."""

    state: State_co

    def prepare(self) -> None:
        return None

    def map(
        self, function: Callable[[State_co, Item], Result], items: Sequence[Item]
    ) -> Iterator[Result]:
        for item in items:
            yield function(self.state, item)

    def completed(
        self, function: Callable[[State_co, Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[int, Outcome[Result]]]:
        for index, item in enumerate(items):
            try:
                yield index, Outcome(function(self.state, item))
            except Exception as error:
                yield index, Outcome(None, error)

    def close(self) -> None:
        return None


class Death(NamedTuple):
    """How a worker ended under its work."""

    reason: str


class Crew(Protocol[Worker]):
    """Workers of one kind, each with its own copy of the state."""

    @property
    def size(self) -> int:
        """Return how many may work at a time."""

    def prepare(self) -> None:
        """Begin to start what the workers have in common."""

    def start(self) -> Worker:
        """Return a new worker, maybe not ready yet."""

    def give(self, worker: Worker, function: object, item: object) -> None:
        """Let an idle worker apply a function to its state and an item."""

    def wait(
        self, busy: Sequence[Worker]
    ) -> Sequence[tuple[Worker, Outcome[object] | Death]]:
        """Return, once there are any, the answers and the deaths among the busy."""

    def end(self, worker: Worker) -> None:
        """End a worker at once, dead or alive."""

    def close(self) -> None:
        """Let go of what the workers have in common."""


class Spread(Generic[State_co, Worker]):
    """Work spread over a crew, whose workers start at the first need and stay.

    Work under which a worker dies is done once more by another one.
    """

    def __init__(self, crew: Crew[Worker]) -> None:
        self._crew = crew
        self._idle: list[Worker] = []
        self._busy: list[tuple[Worker, int]] = []

    def prepare(self) -> None:
        self._crew.prepare()

    def map(
        self, function: Callable[[State_co, Item], Result], items: Sequence[Item]
    ) -> Iterator[Result]:
        done: dict[int, Outcome[Result]] = {}
        arriving = self.completed(function, items)
        try:
            for wanted in range(len(items)):
                while wanted not in done:
                    index, outcome = next(arriving)
                    done[index] = outcome
                yield done.pop(wanted).result
        finally:
            self._end_busy()

    def completed(
        self, function: Callable[[State_co, Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[int, Outcome[Result]]]:
        waiting = deque(range(len(items)))
        num_deaths: Counter[int] = Counter()
        try:
            while waiting or self._busy:
                self._hand_out(function, items, waiting)
                for index, answer in self._answers():
                    if isinstance(answer, Outcome):
                        yield index, cast("Outcome[Result]", answer)
                        continue
                    num_deaths[index] += 1
                    if num_deaths[index] < MAX_TRIES:
                        waiting.appendleft(index)
                    else:
                        yield index, Outcome(None, _death(answer))
        finally:  # what is under way still is of no use to anybody
            self._end_busy()

    def close(self) -> None:
        self._end_busy()
        while self._idle:
            self._crew.end(self._idle.pop())
        self._crew.close()

    def _hand_out(
        self,
        function: Callable[[State_co, Item], Result],
        items: Sequence[Item],
        waiting: deque[int],
    ) -> None:
        """Give waiting work to who is idle, and start who is missing."""
        while waiting and len(self._busy) < self._crew.size:
            worker = self._idle.pop(0) if self._idle else self._crew.start()
            index = waiting.popleft()
            self._busy.append((worker, index))
            self._crew.give(worker, function, items[index])

    def _answers(self) -> Sequence[tuple[int, Outcome[object] | Death]]:
        """Wait for answers and deaths; who answered is idle, who died is gone."""
        found = []
        for worker, answer in self._crew.wait([worker for worker, _ in self._busy]):
            place = [one is worker for one, _ in self._busy].index(True)
            _, index = self._busy.pop(place)
            if isinstance(answer, Death):
                self._crew.end(worker)
            else:
                self._idle.append(worker)
            found.append((index, answer))
        return found

    def _end_busy(self) -> None:
        while self._busy:
            worker, _ = self._busy.pop()
            self._crew.end(worker)


def _death(last: Death) -> WorkerDied:
    return WorkerDied(
        f"{MAX_TRIES} worker processes in a row ended with {last.reason} over the same "
        "piece of work; too little memory is the usual reason: use fewer workers. A "
        "script of your own needs `if __name__ == '__main__':` around what it runs"
    )
