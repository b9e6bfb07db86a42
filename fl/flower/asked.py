"""What a client app is asked, and what it answers: plain values."""

from __future__ import annotations

from dataclasses import dataclass, field

from fl.contract import Work


@dataclass(frozen=True, slots=True)
class Call:
    """What a client app is asked, and by whom."""

    client_id: int
    num_clients: int
    node_id: int
    run_id: int
    message_id: str
    kind: str
    group_id: str
    content: bytes  # a RecordDict
    state: bytes  # the client's own RecordDict before
    seed: tuple[int, int]  # of the run, and how often the client was called before
    now_ns: int  # when it is asked
    ttl_s: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client app returned: content, or the reason why there is none."""

    content: bytes
    state: bytes
    work: Work
    reason: str = ""
    details: str = field(default="", compare=False)
    reads_clock: bool = False  # the app has looked at the time
