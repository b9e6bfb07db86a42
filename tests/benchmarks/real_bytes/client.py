"""A client process: take a download, sleep for its computation, send its adapter.

    python client.py ADDRESS PORT CLIENT_ID FILE

Knows nothing but the standard library. Each request of the server is three numbers:
bytes down, nanoseconds of computation, bytes up, the last ones of FILE; zero up is the
end. Prints a line of JSON per request: when sending began, on the machine's monotonic
clock, and how many segments were sent twice until the next request.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from pathlib import Path

from wire import REQUEST, hurry, receive, resent, settle

NS_PER_S = 10**9


def serve(link: socket.socket, adapter: bytes) -> None:
    """Serve one request after the other and say what happened."""
    down, compute_ns, up = REQUEST.unpack(receive(link, REQUEST.size))
    while up:
        receive(link, down)
        sleep_until(time.monotonic_ns() + compute_ns)
        sending_ns, before = time.monotonic_ns(), resent(link)
        link.sendall(memoryview(adapter)[-up:])
        down, compute_ns, up = REQUEST.unpack(receive(link, REQUEST.size))
        told = {"sending_ns": sending_ns, "resent": resent(link) - before}
        print(json.dumps(told, separators=(",", ":")), flush=True)


def sleep_until(tick_ns: int) -> None:
    """Sleep until a tick of the monotonic clock."""
    while (left_ns := tick_ns - time.monotonic_ns()) > 0:
        time.sleep(left_ns / NS_PER_S)


def main() -> None:
    hurry()
    address, port, client_id, path = sys.argv[1:]
    adapter = Path(path).read_bytes()
    with socket.socket() as link:
        settle(link)
        link.connect((address, int(port)))
        link.sendall(bytes([int(client_id)]))
        serve(link, adapter)


if __name__ == "__main__":
    main()
