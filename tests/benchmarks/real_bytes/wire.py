"""What server and clients say to each other; the standard library only."""

from __future__ import annotations

import os
import socket
import struct
import sys

REQUEST = struct.Struct("!QQQ")  # bytes down, nanoseconds of computation, bytes up
CHUNK_BYTES = 1 << 16
RESENT_AT = 100  # tcpi_total_retrans in Linux's struct tcp_info


def hurry() -> None:
    """Let this process run before others that are busy: it mostly waits."""
    os.nice(-15)


def settle(link: socket.socket) -> None:
    """Let a connection send at once, and use the congestion control of most hosts.

    It must be told before it is made: one that begins with BBR is paced for ever.
    """
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")


def resent(link: socket.socket) -> int:
    """Return how many segments a connection has sent again so far."""
    told = link.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, RESENT_AT + 4)
    return int.from_bytes(told[RESENT_AT:], sys.byteorder)


def receive(link: socket.socket, num_bytes: int) -> bytearray:
    """Return ``num_bytes`` bytes from a connection."""
    taken = bytearray(num_bytes)
    view, done = memoryview(taken), 0
    while done < num_bytes:
        got = link.recv_into(view[done : done + CHUNK_BYTES])
        if not got:
            raise ConnectionError(f"closed after {done} of {num_bytes} bytes")
        done += got
    return taken
