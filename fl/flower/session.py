"""One run of a Flower app: its server takes turns with the network, and its clients
answer when the network needs their answers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from flwr.app import Context, RecordDict
from flwr.serverapp.strategy import strategy_utils
from flwr.supercore.task_identity import TaskIdentity

from fl.contract import Pause, Post, Score, Work
from fl.flower.alternation import Alternation
from fl.flower.answering import Answers
from fl.flower.app_time import AppTime, Untimed, running, simulated_time, take_sleep
from fl.flower.asked import Answer, Call
from fl.flower.generators import seeded
from fl.flower.grid import SimulatedGrid
from fl.flower.letters import Letters
from fl.flower.older import in_one_thread
from fl.flower.project import Project
from fl.flower.records import SERVER_NODE_ID, message_time
from fl.flower.reported import Reports
from fl.streams import NUM_THREADS, torch_threads

if TYPE_CHECKING:
    from flwr.app import ArrayRecord

FREE = ("get_parameters", "get_properties")  # of the older interface: they only read
_log = logging.getLogger(__name__)


class Session:
    """An app under way; ``declared`` is the work of an answer to a kind of message,
    where the user says how long it takes."""

    def __init__(
        self,
        project: Project,
        answers: Answers,
        *,
        seed: int,
        num_clients: int,
        declared: Callable[[str, RecordDict | None], Work | None],
    ) -> None:
        self.reports = Reports()
        self._project = project
        self._answers = answers
        self._seed = seed
        self._declared = declared
        self.letters = Letters(seed, num_clients, answers.journal(seed, num_clients))
        self._num_calls = [0] * num_clients
        self._calls: dict[str, Call] = {}  # not answered yet
        self._states: dict[int, bytes] = {}
        self._post: Post | None = None
        self._turns = Alternation(self._serve)

    def resume(self, post: Post) -> Pause | None:
        """Run the server app until it waits, and return for what; None at its end."""
        self._post = post
        with simulated_time(), message_time(lambda: post.now_ns):
            return self._turns.resume()

    def start(self, ticket: str) -> None:
        """Let a client begin with a message."""
        asked = self.letters[ticket]
        client_id, metadata = asked.client_id, asked.message.metadata
        number = self._num_calls[client_id]
        self._num_calls[client_id] += 1
        self._calls[ticket] = Call(
            client_id=client_id,
            num_clients=len(self._num_calls),
            node_id=metadata.dst_node_id,
            run_id=self.letters.run_id,
            message_id=ticket,
            kind=asked.kind,
            group_id=metadata.group_id,
            content=asked.content,
            state=self._states.get(client_id, b""),
            seed=(self._seed, number),
            now_ns=self._now_ns,
            ttl_s=metadata.ttl,
        )

    def withdraw(self, ticket: str) -> None:
        """Forget a message whose answer will never arrive."""
        self._calls.pop(ticket, None)

    def work(self, ticket: str) -> Work:
        """Return what a client computes for its answer."""
        answer, kind = self._answer(ticket), self.letters[ticket].kind
        reply = self.letters[ticket].reply
        assert reply is not None
        declared = self._declared(kind, None if answer.reason else reply.content)
        if declared is not None:
            return declared
        is_free = answer.reason or kind in FREE
        if answer.work == Work(0) and not is_free:
            raise Untimed(
                f"to a message {kind!r} a client computes nothing that torch counts; "
                f"say how long it takes: `compute: {{{kind}: {{per_example: 1 ms}}}}`"
            )
        return answer.work

    def bits_up(self, ticket: str) -> int:
        """Return the bits of an answer, which the client has computed by now."""
        answer = self._answer(ticket)
        self._states[self.letters[ticket].client_id] = answer.state
        return self.letters.bits_up(ticket)

    def scores(self, names: Mapping[str, str], splits: Sequence[str]) -> list[Score]:
        """Return the metrics that the app has computed since the last call."""
        return [one for one in self.reports.take(names) if one.split in splits]

    @property
    def arrays(self) -> ArrayRecord | None:
        """Return the arrays that a strategy has aggregated last."""
        return self.reports.arrays

    def close(self) -> None:
        """End the server app, and forget its modules."""
        self._turns.close()
        self._answers.close()
        self._project.unload()

    @property
    def _now_ns(self) -> int:
        return 0 if self._post is None else self._post.now_ns

    def _answer(self, ticket: str) -> Answer:
        """Return an answer; all calls that wait for theirs are answered with it."""
        if ticket in self._calls:
            calls, self._calls = self._calls, {}
            answers = self._answers.answers(list(calls.values()))
            with message_time(lambda: self._now_ns):
                for name, answer in zip(calls, answers, strict=True):
                    if answer.reason:
                        _log.warning("a client app failed: %s", answer.reason)
                        _log.info(answer.details)
                    self.letters[name].answered(answer)
        found = self.letters[ticket].answer
        assert found is not None
        return found

    def _serve(self) -> None:
        """Run the server app from beginning to end, in its own thread."""
        post, project = self._post, self._project
        assert post is not None
        grid = SimulatedGrid(post, self.letters, self._turns.pause)
        clock = AppTime(project.folder, "server", lambda: post.now_ns, grid.sleep)
        TaskIdentity.run_id, TaskIdentity.task_id = self.letters.run_id, 1
        TaskIdentity.node_id = SERVER_NODE_ID
        context = Context(
            run_id=self.letters.run_id,
            node_id=SERVER_NODE_ID,
            node_config={},
            state=RecordDict(),
            run_config=dict(project.config),
        )
        logging.getLogger("flwr").setLevel(logging.WARNING)
        # imported before the seed is set: so it is torch's too
        threads = torch_threads(NUM_THREADS) if project.uses_torch else nullcontext()
        with (
            threads,
            running(clock),
            self.reports.heard(),
            _simulated_sleep(),
            in_one_thread(),
        ):
            with seeded(self._seed, "load server"):
                app = project.load_server()
            with seeded(self._seed, "server"):
                app(grid, context)


@contextmanager
def _simulated_sleep() -> Iterator[None]:
    """Let Flower's own wait for nodes, which imports ``sleep``, be simulated."""
    before = strategy_utils.sleep
    take_sleep(strategy_utils)
    try:
        yield
    finally:
        strategy_utils.sleep = before
