"""Flower's records as bytes, and the messages that carry them."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flwr.app import Context, Error, Message, RecordDict
from flwr.app.message import make_message
from flwr.app.message import message as message_module
from flwr.app.metadata import Metadata
from flwr.common.serde import (
    message_to_proto,
    recorddict_from_proto,
    recorddict_to_proto,
)
from flwr.proto.recorddict_pb2 import RecordDict as ProtoRecordDict

from fl.flower.app_time import NS_PER_S
from fl.flower.asked import Call
from fl.flower.project import Value

if TYPE_CHECKING:
    from collections.abc import Callable


SERVER_NODE_ID = 1  # Flower's own constant for its server
ID_LENGTH = 36
EPOCH_S = 1_000_000_000  # of the clock of messages: a zero has other bytes


def content_bytes(content: RecordDict) -> bytes:
    """Return records as Flower serialises them."""
    found: bytes = recorddict_to_proto(content).SerializeToString(deterministic=True)
    return found


def content_of(text: bytes) -> RecordDict:
    """Return the records of some bytes."""
    return recorddict_from_proto(ProtoRecordDict.FromString(text))


def message_bytes(message: Message, content: bytes | None) -> int:
    """Return the size of a whole message as Flower serialises it, given its records as
    bytes; None where it says why there are none."""
    if content is None:
        return int(message_to_proto(message).ByteSize())
    empty = make_message(metadata=message.metadata, content=RecordDict())
    around = int(message_to_proto(empty).ByteSize())  # the length 0 takes a byte
    return around + len(content) + max(0, (len(content).bit_length() - 1) // 7)


def state_bytes(context: Context) -> bytes:
    """Return what a client keeps from message to message."""
    return content_bytes(context.state)


def call_message(call: Call) -> Message:
    """Return a client's own copy of a message."""
    metadata = Metadata(
        run_id=call.run_id,
        message_id=call.message_id,
        src_node_id=SERVER_NODE_ID,
        dst_node_id=call.node_id,
        reply_to_message_id="",
        group_id=call.group_id,
        created_at=EPOCH_S + call.now_ns / NS_PER_S,
        ttl=call.ttl_s,
        message_type=call.kind,
    )
    message = make_message(metadata=metadata, content=content_of(call.content))
    message.metadata.delivered_at = ""
    return message


def with_id(message: Message, name: str) -> Message:
    """Return a message with the id of a name, as long as Flower's."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    message.metadata.__dict__["_message_id"] = digest[:ID_LENGTH]
    return message


def call_context(call: Call, config: Mapping[str, Value]) -> Context:
    """Return a client's context, with the state that it kept."""
    return Context(
        run_id=call.run_id,
        node_id=call.node_id,
        node_config={
            "partition-id": call.client_id,
            "num-partitions": call.num_clients,
        },
        state=content_of(call.state),
        run_config=dict(config),
    )


def error_reply(code: int, reason: str, message: Message) -> Message:
    """Return the reply that says why there is no other."""
    return Message(Error(code=code, reason=reason), reply_to=message)


@contextmanager
def message_time(now_ns: Callable[[], int]) -> Iterator[None]:
    """Let messages be made at simulated times."""
    before = message_module.now
    message_module.now = lambda: datetime.datetime.fromtimestamp(
        EPOCH_S + now_ns() / NS_PER_S, datetime.UTC
    )
    try:
        yield
    finally:
        message_module.now = before
