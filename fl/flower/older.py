"""Flower's older interface, ``server_fn``: its threads' work, done in one.

There a thread for each client waits for its answer, and another one looks for nodes.
Here all messages of a round are sent together, and nodes are looked for when one is
drawn; strategies and clients get what they get in Flower.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from threading import Event
from typing import Any

from flwr.app import Message
from flwr.app.message_type import MessageType
from flwr.compat.common import recorddict_compat as compat
from flwr.server import server
from flwr.server.client_manager import SimpleClientManager
from flwr.server.compat import app, app_utils

from fl.flower.app_time import replaced

WAIT_S = 1.0  # between two looks for nodes


@contextmanager
def in_one_thread() -> Iterator[None]:
    """Let the older interface send all messages of a round together."""
    fit = _together(
        MessageType.TRAIN,
        lambda ins: compat.fitins_to_recorddict(ins, keep_input=True),
        lambda content: compat.recorddict_to_fitres(content, keep_input=False),
        server._handle_finished_future_after_fit,
    )
    evaluate = _together(
        MessageType.EVALUATE,
        lambda ins: compat.evaluateins_to_recorddict(ins, keep_input=True),
        compat.recorddict_to_evaluateres,
        server._handle_finished_future_after_evaluate,
    )
    with ExitStack() as stack:
        for owner, values in (
            (server, {"fit_clients": fit, "evaluate_clients": evaluate}),
            (app, {"start_update_client_manager_thread": _registered}),
            (SimpleClientManager, {"wait_for": _wait_for}),
        ):
            stack.enter_context(replaced(owner, values))
        yield


def _together(
    kind: str,
    written: Callable[[Any], Any],
    read: Callable[[Any], Any],
    sort: Callable[..., None],
) -> Callable[..., Any]:
    """Return what asks all clients of a round, and sorts their results and failures."""

    def ask(
        client_instructions: Sequence[tuple[Any, Any]],
        max_workers: int | None,
        timeout: float | None,
        group_id: int,
    ) -> tuple[list[Any], list[Any]]:
        results: list[Any] = []
        failures: list[Any] = []
        clients = {client.node_id: client for client, _ in client_instructions}
        messages = [
            _message(kind, client, written(ins), timeout, group_id)
            for client, ins in client_instructions
        ]
        grid = client_instructions[0][0].grid
        for reply in grid.send_and_receive(messages):
            answer: Future[Any] = Future()
            client = clients[reply.metadata.src_node_id]
            if reply.has_error():
                answer.set_exception(ValueError(reply.error.reason))
            else:
                answer.set_result((client, read(reply.content)))
            sort(future=answer, results=results, failures=failures)
        return results, failures

    return ask


def _message(
    kind: str, client: Any, content: Any, timeout: float | None, group_id: int
) -> Message:
    """Return a message to a client, which lives as long as its round may take."""
    return Message(
        content,
        dst_node_id=client.node_id,
        message_type=kind,
        group_id=str(group_id),
        ttl=timeout,
    )


class _Nobody:
    """In place of a thread that looks for nodes."""

    def join(self) -> None:
        """Return at once."""


def _registered(grid: Any, client_manager: Any) -> tuple[_Nobody, Event, Event]:
    """Register the nodes that are there; the manager looks again whenever asked."""
    over, is_done = Event(), Event()
    over.set()  # so that the loop of the thread ends before it begins
    app_utils._update_client_manager(grid, client_manager, over, is_done)
    return _Nobody(), over, is_done


def _wait_for(self: Any, num_clients: int, timeout: int = 86_400) -> bool:
    """Wait in simulated time until so many clients are there."""
    for _ in range(timeout):
        if self.num_available() >= num_clients:
            return True
        time.sleep(WAIT_S)
    return False
