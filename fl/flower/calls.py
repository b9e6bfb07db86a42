"""One call of a client app: a function of its message, its context and the seed."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fl.contract import Work
from fl.flower.app_time import AppTime, Untimed, running, simulated_time
from fl.flower.asked import Answer, Call
from fl.flower.generators import seeded
from fl.flower.project import Project
from fl.flower.records import (
    call_context,
    call_message,
    content_bytes,
    message_time,
    state_bytes,
)
from fl.streams import NUM_THREADS, torch_threads

if TYPE_CHECKING:
    from flwr.clientapp import ClientApp


@dataclass
class _Clock:
    """The time of a call, and whether the app has looked at it."""

    time_ns: int
    is_read: bool = False

    def now_ns(self) -> int:
        self.is_read = True
        return self.time_ns


@dataclass
class Clients:
    """The client app of a project, loaded at its first call."""

    project: Project
    counts: bool  # the work of torch
    _app: ClientApp | None = None

    def answer(self, call: Call) -> Answer:
        """Return what the app answers; an error of it is an answer too."""
        app = self._loaded()
        message, context = call_message(call), call_context(call, self.project.config)
        clock = _Clock(call.now_ns)
        with ExitStack() as stack:
            stack.enter_context(message_time(lambda: call.now_ns))
            stack.enter_context(self._running(clock))
            stack.enter_context(seeded(call.seed[0], call.client_id, call.seed[1]))
            counter = stack.enter_context(_counted()) if self.counts else _Counter()
            try:
                reply = app(message, context)
                content = content_bytes(reply.content)
            except Untimed:
                raise
            except Exception as error:
                reason = f"{type(error)}:<'{error}'>"
                details = traceback.format_exc()
                return Answer(b"", call.state, counter.work(), reason, details)
        state, work = state_bytes(context), counter.work()
        return Answer(content, state, work, reads_clock=clock.is_read)

    @contextmanager
    def _running(self, clock: _Clock) -> Iterator[None]:
        seen = AppTime(self.project.folder, "client", clock.now_ns)
        with simulated_time(), running(seen):
            yield

    def _loaded(self) -> ClientApp:
        if self._app is None:
            if self.counts:
                import torch  # noqa: F401  # counted from the first call on
            with self._running(_Clock(0)), seeded(0, "load client"):
                self._app = self.project.load_client()
        return self._app


def answer(clients: Clients, call: Call) -> Answer:
    """Return what a client app answers, in whatever process this is."""
    return clients.answer(call)


class _Counter:
    """Counts nothing."""

    def work(self) -> Work:
        return Work(0)


@contextmanager
def _counted() -> Iterator[Any]:
    from fl.flower.tally import Counting

    with torch_threads(NUM_THREADS), Counting() as counter:
        yield counter
