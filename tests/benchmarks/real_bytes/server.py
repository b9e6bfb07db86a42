"""The server process: drive the rounds of a plan and note when each update is there.

    python server.py ADDRESS PORT PLAN > ticks.json

Knows nothing but the standard library. A plan is ``begin_ns``, ``announce_ns``,
``merge_ns`` and ``rounds``, each a list of parts: ``client_id``, ``down_bytes``,
``compute_ns``, ``up_bytes`` and the ``file`` whose last bytes must arrive. Prints per
round its start and end, and per part its end, on the machine's monotonic clock.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from client import sleep_until
from wire import REQUEST, hurry, receive, settle


def welcome(port: socket.socket, num_clients: int) -> dict[int, socket.socket]:
    """Return the connection of every client, once all are there."""
    links = {}
    while len(links) < num_clients:
        link, _ = port.accept()
        links[receive(link, 1)[0]] = link
    return links


def ask(link: socket.socket, part: dict) -> None:
    """Send a client its request."""
    request = part["down_bytes"], part["compute_ns"], part["up_bytes"]
    link.sendall(REQUEST.pack(*request))


def serve(link: socket.socket, part: dict, adapter: bytes) -> tuple[int, bytearray]:
    """Send a client its download; return when its upload was there, and the upload."""
    link.sendall(memoryview(adapter)[: part["down_bytes"]])
    update = receive(link, part["up_bytes"])
    return time.monotonic_ns(), update


def play(plan: dict, links: dict[int, socket.socket]) -> list[dict]:
    """Play all rounds and return their ticks; what arrived is compared afterwards."""
    rounds, updates = [], []
    paths = {part["file"] for parts in plan["rounds"] for part in parts}
    adapters = {path: Path(path).read_bytes() for path in paths}

    def serve_part(part: dict) -> tuple[int, bytearray]:
        return serve(links[part["client_id"]], part, adapters[part["file"]])

    with ThreadPoolExecutor(len(links)) as pool:
        sleep_until(plan["begin_ns"])
        start_ns = time.monotonic_ns()
        for parts in plan["rounds"]:
            sleep_until(start_ns + plan["announce_ns"])
            for part in parts:
                ask(links[part["client_id"]], part)
            served = list(pool.map(serve_part, parts))
            end_ns = time.monotonic_ns()
            sleep_until(end_ns + plan["merge_ns"])
            end_ns = time.monotonic_ns()
            ends_ns = [tick_ns for tick_ns, _ in served]
            rounds.append({"start_ns": start_ns, "end_ns": end_ns, "ends_ns": ends_ns})
            updates += zip(parts, (update for _, update in served), strict=True)
            start_ns = end_ns
    for part, update in updates:
        if update != adapters[part["file"]][-part["up_bytes"] :]:
            raise ValueError(
                f"client {part['client_id']}: other bytes arrived than sent"
            )
    return rounds


def main() -> None:
    hurry()
    address, port_number, path = sys.argv[1:]
    plan = json.loads(Path(path).read_text(encoding="utf-8"))
    with socket.socket() as port:
        settle(port)  # and with it every connection that it takes
        port.bind((address, int(port_number)))
        port.listen(plan["num_clients"])
        print("listening", flush=True)
        links = welcome(port, plan["num_clients"])
        rounds = play(plan, links)
    for link in links.values():
        link.sendall(REQUEST.pack(0, 0, 0))
        link.close()
    print(json.dumps(rounds), flush=True)


if __name__ == "__main__":
    main()
