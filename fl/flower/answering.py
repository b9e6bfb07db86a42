"""Answers of client apps: remembered, or computed here or in workers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata

import numpy as np

from fl.contract import Work
from fl.flower.asked import Answer, Call
from fl.flower.calls import Clients, answer
from fl.flower.journal import Journal
from fl.memory.code import code_digest
from fl.memory.memory import Memory
from fl.memory.recipe import Environment, digest
from fl.memory.store import Entry, Store
from fl.streams import NUM_THREADS
from fl.workers.executor import Executor, Inline


@dataclass(frozen=True, slots=True)
class Kept:
    """What is remembered of an answer besides its bytes."""

    content: int  # the length of this part of them
    work: Mapping[str, int]
    reason: str


@dataclass
class Answers:
    """Answers calls with one client app; an error of it is not remembered."""

    clients: Clients
    app: str  # the digest of its folder
    store: Store | None = None
    executor: Callable[[Clients], Executor[Clients]] = Inline
    num_computed: int = 0
    num_reused: int = 0
    _executor: Executor[Clients] = field(init=False)
    _journal: Journal = field(init=False)

    def __post_init__(self) -> None:
        self._executor = self.executor(self.clients)
        here = Environment.here(device="cpu", threads=NUM_THREADS, precision="float32")
        self._memory = Memory(self.store, here)
        self._code = code_digest(["fl.flower.calls", "fl.flower.tally"])

    def answers(self, calls: Sequence[Call]) -> Sequence[Answer]:
        """Return an answer to each call."""
        found = [self._recalled(call) for call in calls]
        missing = [n for n, one in enumerate(found) if one is None]
        made = self._executor.map(answer, [calls[n] for n in missing])
        for n, one in zip(missing, made, strict=True):
            found[n] = one
            self._remember(calls[n], one)
        self.num_computed += len(missing)
        self.num_reused += len(calls) - len(missing)
        return [one for one in found if one is not None]

    def journal(self, seed: int, num_clients: int) -> Journal:
        """Return what remembers the messages of the app's server."""
        config = dict(self.clients.project.config)
        run = [seed, num_clients]
        name = digest("flower app", {"app": self.app, "config": config, "run": run})
        self._journal = Journal(self._memory, name)
        return self._journal

    def require_repeats(self) -> None:
        """Refuse a server that goes on in another way than it did before."""
        self._journal.is_strict = True

    def close(self) -> None:
        """End the workers."""
        self._executor.close()

    def _name(self, call: Call, *, is_timed: bool) -> str:
        """Return the recipe of an answer: all that a client app may know; of times only
        those of an app that looks at the clock."""
        return digest(
            "flower answer",
            {
                "app": self.app,
                "code": self._code,
                "flwr": metadata.version("flwr"),
                "config": dict(self.clients.project.config),
                "counts": self.clients.counts,
                "client": [call.client_id, call.num_clients, call.node_id],
                "message": [call.run_id, call.kind, call.group_id],
                "content": hashlib.sha256(call.content).hexdigest(),
                "state": hashlib.sha256(call.state).hexdigest(),
                "seed": list(call.seed),
                "now_ns": call.now_ns if is_timed else None,
            },
        )

    def _recalled(self, call: Call) -> Answer | None:
        for is_timed in (False, True):
            name = self._name(call, is_timed=is_timed)
            if (entry := self._memory.recall(name, Kept)) is not None:
                break
        else:
            return None
        kept, text = entry.record, entry.arrays[0].tobytes()
        content, state = text[: kept.content], text[kept.content :]
        return Answer(content, state, Work(**kept.work), kept.reason)

    def _remember(self, call: Call, made: Answer) -> None:
        if made.reason:
            return
        kept = Kept(len(made.content), asdict(made.work), made.reason)
        text = np.frombuffer(made.content + made.state, np.uint8)
        name = self._name(call, is_timed=made.reads_clock)
        self._memory.remember(name, Entry(kept, (text,)))
