"""Flows over one shared link in SimGrid; run under the Python that has it.

    /usr/bin/python3 tests/benchmarks/in_simgrid.py FLOWS.json ENDS.json

Reads ``band_bytes_per_s`` and ``flows``, each ``[start_s, bytes, ceiling]`` in bytes/s
or null; writes the seconds at which each ended and the CPU seconds.
The model is CM02 without TCP: max-min fair shares, no latency, no window.
"""

import json
import sys
import time

from simgrid import Actor, Comm, Engine, LinkInRoute, NetZone, this_actor

FLUID = (
    "network/model:CM02",
    "network/TCP-gamma:0",
    "network/crosstraffic:0",
    "network/weight-S:0",
    "network/bandwidth-factor:1",
    "network/latency-factor:1",
    "maxmin/precision:1e-12",
    "surf/precision:1e-12",
)


def build(given):
    """Return a pair of hosts for every flow, joined by the shared link."""
    zone = NetZone.create_full_zone("zone")
    shared = zone.create_link("shared", float(given["band_bytes_per_s"])).seal()
    sink = zone.create_host("sink", 1e9).seal()
    pairs = []
    for number, (_, _, ceiling) in enumerate(given["flows"]):
        host = zone.create_host(f"host-{number}", 1e9).seal()
        route = [LinkInRoute(shared)]
        if ceiling is not None:
            own = zone.create_link(f"radio-{number}", float(ceiling)).seal()
            route.append(LinkInRoute(own))
        zone.add_route(host.netpoint, sink.netpoint, None, None, route, True)
        pairs.append((host, sink))
    zone.seal()
    return pairs


def play(given, pairs, ends_s):
    """Start every flow at its time, and note when each has ended."""
    comms = []
    order = sorted(range(len(pairs)), key=lambda n: given["flows"][n][0])
    for number in order:
        start_s, num_bytes, _ = given["flows"][number]
        this_actor.sleep_until(start_s)
        comms.append(Comm.sendto_async(*pairs[number], num_bytes))
    for number, comm in zip(order, comms, strict=True):
        comm.wait()
        ends_s[number] = comm.finish_time


def main():
    with open(sys.argv[1]) as file:
        given = json.load(file)
    settings = [f"--cfg={setting}" for setting in FLUID]
    engine = Engine(["in_simgrid", "--log=root.thres:error", *settings])
    pairs = build(given)
    ends_s = [None] * len(pairs)
    Actor.create("source", pairs[0][0], play, given, pairs, ends_s)
    start_s = time.process_time()
    engine.run()
    took_s = time.process_time() - start_s
    with open(sys.argv[2], "w") as file:
        json.dump({"ends_s": ends_s, "cpu_s": took_s}, file)


if __name__ == "__main__":
    main()
