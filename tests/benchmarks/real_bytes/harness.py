"""Plays a plan over a shaped link with a process per client, and brings back ticks."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from link import SERVER_ADDRESS, Names, Shape, built, inside

HERE = Path(__file__).parent
PORT = "4077"
LIMIT_S = 300  # of one plan
SETTLES_NS = 12 * 10**9  # until all processes are there, before a trace begins
LATE_NS = 50 * 10**6


@dataclass(frozen=True)
class Part:
    """One client's part in a round: bytes down, work, and the last bytes of a file."""

    client_id: int
    down_bytes: int
    compute_ns: int
    up_bytes: int
    file: str


@dataclass(frozen=True)
class Plan:
    """What server and clients do: rounds of parts, with the server's own times."""

    announce_ns: int
    merge_ns: int
    rounds: tuple[tuple[Part, ...], ...]


@dataclass(frozen=True)
class Upload:
    """One upload, in ns after the start of the whole: when sending began, when the
    last byte was there; and how many segments had to be sent twice."""

    round_id: int
    client_id: int
    start_ns: int
    end_ns: int
    num_resent: int = 0


@dataclass(frozen=True)
class Played:
    """What really happened."""

    uploads: tuple[Upload, ...]
    round_starts_ns: tuple[int, ...]
    round_ends_ns: tuple[int, ...]


def play(plan: Plan, shape: Shape) -> Played:
    """Play a plan over a link of its own and return what happened."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        path = Path(folder) / "plan.json"
        begin_ns = time.monotonic_ns() + (SETTLES_NS if shape.trace else 0)
        told = {"num_clients": shape.num_clients, "begin_ns": begin_ns}
        path.write_text(json.dumps({**asdict(plan), **told}))
        names = stack.enter_context(built(shape))
        server = stack.enter_context(_process(names.server, "server.py", str(path)))
        if server.stdout.readline() != "listening\n":
            raise RuntimeError("the server did not start")
        files = {part.client_id: part.file for parts in plan.rounds for part in parts}
        idle = next(iter(files.values()))
        clients = [
            stack.enter_context(_client(names, client_id, files.get(client_id, idle)))
            for client_id in range(shape.num_clients)
        ]
        if shape.trace is not None:
            words = (shape.trace.path, str(shape.trace.offset_s), str(begin_ns))
            stack.enter_context(_follower(names, *words))
        rounds = json.loads(_last_word(server))
        if shape.trace is not None and rounds[0]["start_ns"] > begin_ns + LATE_NS:
            raise RuntimeError("the processes came too late for the trace: play again")
        ticks = [[json.loads(line) for line in _last_word(c).split()] for c in clients]
    return _gathered(plan, rounds, ticks)


def _client(names: Names, client_id: int, file: str):
    return _process(names.client(client_id), "client.py", str(client_id), file)


@contextmanager
def _follower(names: Names, *words: str) -> Iterator[None]:
    """Let the uplink follow a trace meanwhile."""
    script = [sys.executable, "-S", str(HERE / "follow.py"), "uplink", SERVER_ADDRESS]
    process = subprocess.Popen(inside(names.hub, [*script, *words]))
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def _process(space: str, script: str, *words: str) -> Iterator[subprocess.Popen]:
    """Start a script in a namespace; it is gone afterwards."""
    command = [sys.executable, "-S", str(HERE / script), SERVER_ADDRESS, PORT, *words]
    process = subprocess.Popen(
        inside(space, command), stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _last_word(process: subprocess.Popen) -> str:
    """Return what a process says until it ends."""
    said, _ = process.communicate(timeout=LIMIT_S)
    if process.returncode:
        raise RuntimeError(f"{process.args} ended with code {process.returncode}")
    return said


def _gathered(plan: Plan, rounds: list[dict], ticks: list[list[dict]]) -> Played:
    """Join the server's ticks with the clients', from the first round's start on."""
    origin_ns = rounds[0]["start_ns"]
    of_client = [iter(own) for own in ticks]
    uploads = []
    for round_id, parts in enumerate(plan.rounds, start=1):
        ends_ns = rounds[round_id - 1]["ends_ns"]
        for part, end_ns in zip(parts, ends_ns, strict=True):
            told = next(of_client[part.client_id])
            ticks_ns = told["sending_ns"] - origin_ns, end_ns - origin_ns
            uploads.append(Upload(round_id, part.client_id, *ticks_ns, told["resent"]))
    return Played(
        tuple(uploads),
        tuple(one["start_ns"] - origin_ns for one in rounds),
        tuple(one["end_ns"] - origin_ns for one in rounds),
    )
