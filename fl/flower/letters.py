"""The messages of an app that are under way, and their replies."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from flwr.app import Message
from flwr.common.constant import ErrorCode

from fl.contract import Letter
from fl.flower.app_time import NS_PER_S
from fl.flower.asked import Answer
from fl.flower.journal import Journal
from fl.flower.records import (
    content_bytes,
    content_of,
    error_reply,
    message_bytes,
    with_id,
)
from fl.streams import stream

EXPIRED = "expired"  # by its time to live


@dataclass(slots=True)
class Asked:
    """A message, and what has come of it."""

    message: Message
    client_id: int
    content: bytes
    shared_bytes: int = 0  # of the content, which all messages sent with it have
    expires_ns: int = 0  # when it counts as lost
    answer: Answer | None = None
    reply: Message | None = None

    @property
    def kind(self) -> str:
        """Return what is asked of the client."""
        return str(self.message.metadata.message_type)

    def answered(self, answer: Answer) -> None:
        """Note the client's answer, and make the reply of it."""
        self.answer = answer
        if answer.reason:
            code = ErrorCode.CLIENT_APP_RAISED_EXCEPTION
            reply = error_reply(code, answer.reason, self.message)
        else:
            reply = Message(content_of(answer.content), reply_to=self.message)
        self.reply = with_id(reply, f"reply to {self.message.metadata.message_id}")


class Letters:
    """Messages by their tickets, which are their ids."""

    def __init__(self, seed: int, num_clients: int, journal: Journal) -> None:
        self._journal = journal
        drawn = stream(seed, "flower", "ids").integers(2**32, 2**62, num_clients + 1)
        self.run_id, *self._node_ids = drawn.tolist()
        self._client_ids = {node_id: n for n, node_id in enumerate(self._node_ids)}
        self._asked: dict[str, Asked] = {}
        self._num_written = 0
        self._history = hashlib.sha256()

    def __getitem__(self, ticket: str) -> Asked:
        return self._asked[ticket]

    def __contains__(self, ticket: str) -> bool:
        return ticket in self._asked

    def node_id(self, client_id: int) -> int:
        """Return the number by which the app knows a client."""
        return int(self._node_ids[client_id])

    @property
    def digest(self) -> str:
        """Return the digest of all that was sent and received so far."""
        return self._history.hexdigest()

    def write(self, messages: Sequence[Message], now_ns: int) -> list[Letter]:
        """Return the letters of messages that go together; these get their ids."""
        known: dict[int, bytes] = {}  # messages often hold the same records
        for message in messages:
            if id(message.content) not in known:
                known[id(message.content)] = content_bytes(message.content)
        contents = [known[id(message.content)] for message in messages]
        is_shared = len(set(contents)) == 1
        found, before = [], self.digest
        for message, content in zip(messages, contents, strict=True):
            asked = self._asked_of(message, content)
            asked.shared_bytes = len(content) if is_shared else 0
            asked.expires_ns = now_ns + round(message.metadata.ttl * NS_PER_S)
            ticket = str(message.metadata.message_id)
            self._asked[ticket] = asked
            found.append(Letter(ticket, asked.client_id, asked.kind))
        self._journal.note(before, self.digest)
        return found

    def _asked_of(self, message: Message, content: bytes) -> Asked:
        node_id = message.metadata.dst_node_id
        if node_id not in self._client_ids:
            raise ValueError(f"a message goes to node {node_id}, which there is not")
        client_id = self._client_ids[node_id]
        with_id(message, f"message {self.run_id}/{self._num_written}")
        self._num_written += 1
        self._note(f"{client_id} {message.metadata.message_type}", content)
        return Asked(message, client_id, content)

    def reply(self, ticket: str, outcome: str) -> Message:
        """Return the reply to a message that is over, and forget the message; a client
        may still be at one that has expired."""
        asked = self._asked[ticket]
        if outcome != EXPIRED:
            del self._asked[ticket]
        if outcome == "done":
            assert asked.reply is not None
            assert asked.answer is not None
            self._note(f"reply {asked.answer.reason}", asked.answer.content)
            return asked.reply
        self._note(outcome, b"")
        is_expired = outcome == "expired"
        code = (
            ErrorCode.MESSAGE_UNAVAILABLE if is_expired else ErrorCode.NODE_UNAVAILABLE
        )
        return with_id(error_reply(code, outcome, asked.message), f"no {ticket}")

    def bits_down(self, ticket: str) -> tuple[int, int]:
        """Return the bits of a message that all sent with it share, and the others."""
        asked = self._asked[ticket]
        whole = message_bytes(asked.message, asked.content)
        return 8 * asked.shared_bytes, 8 * (whole - asked.shared_bytes)

    def bits_up(self, ticket: str) -> int:
        """Return the bits of a reply."""
        asked = self._asked[ticket]
        assert asked.reply is not None
        assert asked.answer is not None
        content = None if asked.answer.reason else asked.answer.content
        return 8 * message_bytes(asked.reply, content)

    def _note(self, text: str, content: bytes) -> None:
        self._history.update(f"{text} {len(content)}\n".encode())
        self._history.update(content)
