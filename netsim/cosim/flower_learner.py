"""A Flower app as the network sees it: sizes, work, and when it waits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fl.contract import NOTHING, Arrival, Branch, Job, Merged, Pause, Post, Score, Work
from fl.flower.answering import Answers
from fl.flower.app_time import Untimed
from fl.flower.calls import Clients
from fl.flower.exported import export, num_examples
from fl.flower.journal import Unrepeatable
from fl.flower.project import Project
from fl.flower.session import Session
from fl.memory.store import Store
from fl.workers.executor import WorkerDied
from netsim.cosim.declared_time import DeclaredTime
from netsim.cosim.workers import Workers
from netsim.errors import InputError
from netsim.learner.evaluation_schedule import EvaluationSchedule

if TYPE_CHECKING:
    from flwr.app import RecordDict

VERSION = "app"  # of a job that no message asks for: what it takes is not known
LEAST_BITS = 8


@dataclass(frozen=True, slots=True)
class AppSettings:
    """What a scenario says about an app besides where it is."""

    compute: Mapping[str, DeclaredTime]
    metrics: Mapping[str, str]
    splits: Sequence[str]
    memory_bytes: int


class FlowerLearner:
    """Answers the network for a Flower app; a ticket is a message's id."""

    rank: None = None
    initial_version = VERSION

    def __init__(
        self,
        project: Project,
        settings: AppSettings,
        num_clients: int,
        seed: int,
        *,
        reuse: bool,
        workers: Workers,
    ) -> None:
        self.schedule = EvaluationSchedule()
        self.num_samples: Sequence[int] = [1] * num_clients
        self._folder = project.folder
        self._settings = settings
        self._answers = Answers(
            Clients(project, counts=project.uses_torch),
            app=project.digest,
            store=Store() if reuse else None,
            executor=workers.executor,
        )
        self._session = Session(
            project,
            self._answers,
            seed=seed,
            num_clients=num_clients,
            declared=self._declared,
        )

    def resume(self, post: Post) -> Pause | None:
        with self._as_input_errors():
            return self._session.resume(post)

    def require_repeats(self) -> None:
        self._answers.require_repeats()

    def memory_at(self, rank: int | None) -> int:
        return self._settings.memory_bytes

    def bits_down(self, job: Job, have: str | None) -> tuple[int, int]:
        if job.version == VERSION:
            return 0, LEAST_BITS
        return self._session.letters.bits_down(job.version)

    def bits_up(self, job: Job) -> int:
        if job.version == VERSION:
            return LEAST_BITS
        return self._session.bits_up(job.version)

    def work(self, job: Job) -> Work:
        if job.version == VERSION:
            return NOTHING
        with self._as_input_errors():
            return self._session.work(job.version)

    def submit(self, job: Job) -> str:
        self._session.start(job.version)
        return job.version

    def withdraw(self, ticket: str) -> None:
        self._session.withdraw(ticket)

    def merge(
        self, version: str, arrivals: Sequence[Arrival], examined: Sequence[str] = ()
    ) -> Merged:
        return Merged(version)  # the app merges itself

    def hold(self, versions: Sequence[str]) -> None:
        return None

    def join(
        self, version: str, branches: Sequence[Branch], *, round_id: int
    ) -> Merged:
        return Merged(version)

    def evaluate(self, version: str) -> Sequence[Score]:
        return self._session.scores(self._settings.metrics, self._settings.splits)

    def export(self, version: str, folder: Path, *, with_base: bool = False) -> str:
        """Write the arrays that a strategy has aggregated last, and return the digest
        of all that was sent and received."""
        if self._session.arrays is not None:
            export(self._session.arrays, folder)
        return self._session.letters.digest

    def close(self) -> None:
        self._session.close()

    @property
    def steps_trained(self) -> int:
        return self._answers.num_computed

    @property
    def steps_reused(self) -> int:
        return self._answers.num_reused

    def _declared(self, kind: str, content: RecordDict | None) -> Work | None:
        """Return the work of an answer to a kind of message, if it is declared; one
        without content is an error, which is about no example."""
        category = kind.partition(".")[0]  # of "train.my_action"
        found = self._settings.compute.get(kind, self._settings.compute.get(category))
        if found is None:
            return None
        if content is None or not found.counts_examples:
            return found.work(0)
        number = num_examples(content, found.examples)
        if number is None or not 0 <= number < math.inf:
            raise Untimed(
                f"an answer to a message {kind!r} has no metric {found.examples!r} of "
                f"at least 0 (got {number}), which `compute.{kind}` multiplies with; "
                "set its `examples`"
            )
        return found.work(number)

    @contextmanager
    def _as_input_errors(self) -> Iterator[None]:
        """Name the app as the place of what goes wrong in it."""
        try:
            yield
        except InputError:
            raise
        except (Untimed, Unrepeatable, WorkerDied) as error:
            raise InputError(f"learning.app: {error}") from error
        except (Exception, SystemExit) as error:
            raise InputError(
                f"learning.app: {self._folder} raised {type(error).__name__}: "
                f"{' '.join(str(error).split())[:500]}{_place(error, self._folder)}"
            ) from error


def _place(error: BaseException, folder: Path) -> str:
    """Return where in the app an error was raised."""
    found, trace = "", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if Path(file).is_relative_to(folder):
            name = Path(file).relative_to(folder)
            found = f" ({name}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return found
