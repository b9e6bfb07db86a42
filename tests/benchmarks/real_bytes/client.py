"""A client process: take a download, sleep for its computation, send its adapter.

    python client.py ADDRESS PORT CLIENT_ID FILE

Knows nothing but the standard library. Each request of the server is three numbers:
bytes down, nanoseconds of computation, bytes up, the last ones of FILE; zero up is the
end. Prints a line of JSON per request: when the download was there and when sending
began, on the machine's monotonic clock.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from pathlib import Path

from wire import REQUEST, hurry, receive, settle

NS_PER_S = 10**9


def answer(link: socket.socket, adapter: bytes) -> dict[str, int] | None:
    """Serve one request and return its ticks; nothing at the end."""
    down, compute_ns, up = REQUEST.unpack(receive(link, REQUEST.size))
    if not up:
        return None
    receive(link, down)
    downloaded_ns = time.monotonic_ns()
    sleep_until(downloaded_ns + compute_ns)
    sending_ns = time.monotonic_ns()
    link.sendall(memoryview(adapter)[-up:])
    return {"downloaded_ns": downloaded_ns, "sending_ns": sending_ns}


def sleep_until(tick_ns: int) -> None:
    """Sleep until a tick of the monotonic clock."""
    while (left_ns := tick_ns - time.monotonic_ns()) > 0:
        time.sleep(left_ns / NS_PER_S)


def main() -> None:
    hurry()
    address, port, client_id, path = sys.argv[1:]
    adapter = Path(path).read_bytes()
    with socket.create_connection((address, int(port))) as link:
        settle(link)
        link.sendall(bytes([int(client_id)]))
        while (ticks := answer(link, adapter)) is not None:
            print(json.dumps(ticks, separators=(",", ":")), flush=True)


if __name__ == "__main__":
    main()
