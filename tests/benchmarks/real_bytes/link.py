"""One rate-limited link between real processes: network namespaces and `tc`.

Every client has a namespace of its own, behind a hub that forwards to the server. The
uplink is shaped where the hub sends to the server, the downlink where the server sends
to the hub, both in bytes of Ethernet frames. Addresses are 10.77.0.0/16 and
10.78.0.0/24 within the namespaces; nothing leaves them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

SERVER_ADDRESS = "10.78.0.2"
MTU = 1500
FRAME_BYTES = MTU + 14  # what `tc` counts: without preamble, checksum and gap
FIFO_BYTES = 150_000
FORWARDING = "/proc/sys/net/ipv4/ip_forward"
OWN_BPS = 8_000  # of a class; all else is borrowed
UNLIMITED_BPS = 10**9
QUEUE_PACKETS = 100  # of each client's own queue


class Refused(Exception):
    """This machine, or this user, cannot make the link."""


@dataclass(frozen=True)
class Trace:
    """A recorded trace of packets, and where in it the play begins."""

    path: str
    offset_s: float


@dataclass(frozen=True)
class Shape:
    """What the link carries: rates in bit/s of frames, up to each client's ceiling."""

    up_bps: int
    down_bps: int
    ceilings_bps: Sequence[int]  # one for each client
    is_fair: bool = True  # a queue per client; else one queue for all
    trace: Trace | None = None  # that the uplink follows in place of its rate

    @property
    def num_clients(self) -> int:
        return len(self.ceilings_bps)


@dataclass(frozen=True)
class Names:
    """The namespaces of one link."""

    prefix: str

    @property
    def hub(self) -> str:
        return f"{self.prefix}hub"

    @property
    def server(self) -> str:
        return f"{self.prefix}srv"

    def client(self, client_id: int) -> str:
        return f"{self.prefix}c{client_id}"


@contextmanager
def built(shape: Shape) -> Iterator[Names]:
    """Build the link and yield its namespaces; they are gone afterwards, also after an
    exception."""
    _require_root()
    names = Names(f"nsim{os.getpid()}")
    with ExitStack() as stack:
        for space in (names.hub, names.server):
            _add_namespace(stack, space)
        _wire(names.server, names.hub, "uplink", subnet="10.78.0")
        for client_id in range(shape.num_clients):
            _add_namespace(stack, names.client(client_id))
            subnet = f"10.77.{client_id}"
            _wire(names.client(client_id), names.hub, f"c{client_id}", subnet=subnet)
        _run(*inside(names.hub, ["sh", "-c", f"echo 1 > {FORWARDING}"]))
        if shape.trace is None:
            _limit(names.hub, "uplink", shape.up_bps, shape, match="src")
        else:
            _make_bucket(names.hub, "uplink", shape)
        _limit(names.server, "eth0", shape.down_bps, shape, match="dst")
        yield names


def inside(space: str, command: Sequence[str]) -> list[str]:
    """Return the command that runs another one within a namespace."""
    return ["ip", "netns", "exec", space, *command]


def require() -> None:
    """Raise ``Refused`` unless links of both kinds can be built here."""
    for is_fair in (True, False):
        with built(Shape(10**6, 10**6, [10**6], is_fair)):
            pass


def _require_root() -> None:
    for tool in ("ip", "tc"):
        if shutil.which(tool) is None:
            raise Refused(f"needs the command {tool!r} (iproute2), which is not here")
    if os.geteuid() != 0:
        raise Refused("needs root: network namespaces and `tc` ask for it")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip() or f"exit code {done.returncode}"
        raise Refused(f"`{' '.join(command)}` is not permitted here: {said}")


def _add_namespace(stack: ExitStack, space: str) -> None:
    _run("ip", "netns", "add", space)
    stack.callback(subprocess.run, ["ip", "netns", "del", space], check=False)
    _run("ip", "-n", space, "link", "set", "lo", "up")


def _wire(space: str, hub: str, port: str, *, subnet: str) -> None:
    """Join a namespace's ``eth0`` to a port of the hub, one frame per packet."""
    _run(
        *("ip", "-n", space, "link", "add", "eth0", "type", "veth"),
        *("peer", "name", port, "netns", hub),
    )
    for place, device, host in ((space, "eth0", 2), (hub, port, 1)):
        _run("ip", "-n", place, "addr", "add", f"{subnet}.{host}/24", "dev", device)
        _run("ip", "-n", place, "link", "set", "dev", device, "mtu", str(MTU))
        _run("ip", "-n", place, "link", "set", "dev", device, "gso_max_segs", "1")
        _run("ip", "-n", place, "link", "set", "dev", device, "up")
    _run("ip", "-n", space, "route", "add", "default", "via", f"{subnet}.1")


def _limit(space: str, device: str, rate_bps: int, shape: Shape, *, match: str) -> None:
    """Shape what a device sends: a class per client, or one queue for all.

    Classes own next to nothing and borrow the rest in turn, a frame at a time, so that
    all who are sending have the same, up to their ceilings.
    """
    at = ["tc", "-n", space, "qdisc", "add", "dev", device]
    if not shape.is_fair:
        limits = ["burst", str(4 * FRAME_BYTES), "limit", str(FIFO_BYTES)]
        _run(*at, "root", "tbf", "rate", f"{rate_bps}bit", *limits)
        return
    _run(*at, "root", "handle", "1:", "htb")
    _share(space, device, "1:", rate_bps, shape, match=match)


def _share(
    space: str, device: str, root: str, rate_bps: int, shape: Shape, *, match: str
) -> None:
    """Give each client a class and a queue below an `htb` of a rate."""
    _add_class(space, device, root, f"{root}1", rate_bps, rate_bps)
    for client_id, ceiling_bps in enumerate(shape.ceilings_bps):
        own = f"{root}{client_id + 16:x}"
        most_bps = min(ceiling_bps, rate_bps)
        _add_class(space, device, f"{root}1", own, OWN_BPS, most_bps)
        _run(
            *("tc", "-n", space, "qdisc", "add", "dev", device),
            *("parent", own, "pfifo", "limit", str(QUEUE_PACKETS)),
        )
        _run(
            *("tc", "-n", space, "filter", "add", "dev", device, "protocol", "ip"),
            *("parent", root, "prio", "1", "u32"),
            *("match", "ip", match, f"10.77.{client_id}.2/32", "flowid", own),
        )


def _make_bucket(space: str, device: str, shape: Shape) -> None:
    """Make a token bucket whose rate `follow.py` changes, before a queue per client or
    one queue for all."""
    at = ["tc", "-n", space, "qdisc", "add", "dev", device]
    bucket = ["tbf", "rate", "8kbit", "burst", str(FRAME_BYTES + 26)]
    _run(*at, "root", "handle", "1:", *bucket, "limit", str(FIFO_BYTES))
    if shape.is_fair:
        _run(*at, "parent", "1:1", "handle", "10:", "htb")
        free = replace(shape, ceilings_bps=[UNLIMITED_BPS] * shape.num_clients)
        _share(space, device, "10:", UNLIMITED_BPS, free, match="src")


def _add_class(
    space: str, device: str, parent: str, own: str, rate_bps: int, most_bps: int
) -> None:
    _run(
        *("tc", "-n", space, "class", "add", "dev", device),
        *("parent", parent, "classid", own, "htb"),
        *("rate", f"{rate_bps}bit", "ceil", f"{most_bps}bit"),
        *("burst", str(2 * FRAME_BYTES), "cburst", str(2 * FRAME_BYTES)),
        *("quantum", str(FRAME_BYTES)),
    )
