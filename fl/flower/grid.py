"""Flower's Grid over a simulated network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run

from fl.contract import Pause, Post
from fl.flower.app_time import NS_PER_S
from fl.flower.letters import EXPIRED, Letters


class SimulatedGrid(Grid):  # type: ignore[misc]
    """Sends messages at the simulated time, and waits in it."""

    def __init__(
        self, post: Post, letters: Letters, pause: Callable[[Pause], None]
    ) -> None:
        self._post = post
        self._letters = letters
        self._pause = pause
        self._run = Run.create_empty(letters.run_id)

    def set_run(self, run: Run) -> None:
        """Keep the run that the simulation has made."""

    @property
    def run(self) -> Run:
        """Return the run."""
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Return a message to a node."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """Return the nodes that are there now, in the order of their clients."""
        return [self._letters.node_id(client_id) for client_id in self._post.present()]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages now, and return their ids."""
        letters = self._letters.write(list(messages), self._post.now_ns)
        self._post.send(letters)
        return [letter.ticket for letter in letters]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the replies that are there, in the order in which they came."""
        found = []
        for ticket in dict.fromkeys(message_ids):
            if (outcome := self._outcome(ticket)) is not None:
                found.append((*outcome, ticket))
        found.sort(key=lambda one: one[0])
        self._post.take([one[-1] for one in found if one[1] != EXPIRED])
        self._post.give_up([one[-1] for one in found if one[1] == EXPIRED])
        return [self._letters.reply(ticket, outcome) for _, outcome, ticket in found]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Send messages, and return the replies that come within ``timeout`` simulated
        seconds."""
        tickets = list(self.push_messages(messages))
        end_ns = None
        if timeout is not None:
            end_ns = self._post.now_ns + round(timeout * NS_PER_S)
        while left := tuple(one for one in tickets if self._outcome(one) is None):
            if end_ns is not None and self._post.now_ns >= end_ns:
                break
            expiries = min(self._letters[ticket].expires_ns for ticket in left)
            until_ns = expiries if end_ns is None else min(end_ns, expiries)
            self._pause(Pause(left, until_ns))
        replies = self.pull_messages(tickets)
        self._post.give_up(left)
        return replies

    def sleep(self, seconds: float) -> None:
        """Let simulated time pass."""
        if not (seconds >= 0 and math.isfinite(seconds)):
            raise ValueError("sleep length must be non-negative")
        span_ns = round(seconds * NS_PER_S)
        self._pause(Pause(until_ns=self._post.now_ns + span_ns))

    def _outcome(self, ticket: str) -> tuple[int, str] | None:
        if ticket not in self._letters:
            raise ValueError(f"message {ticket!r} was not sent, or was pulled before")
        outcome = self._post.outcome(ticket)
        expires_ns = self._letters[ticket].expires_ns
        since_ns = self._post.now_ns - expires_ns
        is_over = since_ns > 0 or (since_ns == 0 and outcome is None)
        return (expires_ns, EXPIRED) if is_over else outcome
