"""Random scenarios: each case switches some features on and leaves the others out."""

import random

from tests.torture.sharing_rules import LIVE, RULES

SERVERS = ("synchronous", "deadline", "buffered", "asynchronous", "hierarchical")
ROUNDLESS = ("buffered", "asynchronous")


def _one_cell(rng, is_roundless):
    """Return a cell with both directions."""
    band, wide = rng.choice((1, 3, 5)), {"reference_band": "10 MHz", "gap": "3 dB"}
    per_hertz = {"kind": "per-hertz", "reference_band": f"{band} MHz", "gap": "3 dB"}
    radio = rng.choice((per_hertz, {"kind": "fixed-power", "gap": "3 dB"}))
    down = {"band": "10 MHz", "radio": {"kind": "per-hertz", **wide}}
    if is_roundless or rng.random() < 0.3:
        down |= {"mode": "unicast", "sharing": rng.choice(LIVE)}
    sharing = rng.choice(LIVE if is_roundless else RULES)
    return {
        "uplink": {"band": f"{band} MHz", "radio": radio, "sharing": sharing},
        "downlink": down,
        "path_loss": {"kind": rng.choice(("umi", "uma")), "carrier": "3.5 GHz"},
    }


def _sampling(rng, num_clients):
    return rng.choice(
        (
            {"kind": "full"},
            {"kind": "independent", "probability": rng.choice((0.1, 0.5, 0.9))},
            {"kind": "uniform", "num_drawn": rng.randint(1, num_clients)},
            {"kind": "weighted", "num_draws": rng.randint(1, 6)},
            {"kind": "data-weighted", "num_expected": rng.choice((0.3, 1.0))},
        )
    )


def _server(rng, kind, num_clients):
    merge = {"merge_time": f"{rng.choice((0, 20, 33))} ms"}
    if kind in ROUNDLESS:
        found = {"kind": kind, "concurrency": rng.randint(1, num_clients), **merge}
        if kind == "buffered":
            found["buffer_size"] = rng.randint(1, found["concurrency"])
        return found
    found = {"kind": kind, "sampling": _sampling(rng, num_clients), **merge}
    found["announce_time"] = f"{rng.choice((0, 10, 17))} ms"
    if kind == "deadline":
        found["deadline"] = f"{rng.randint(500, 4000)} ms"
    if kind == "hierarchical":
        found |= {"edge_rounds": rng.randint(1, 3), "cloud_merge_time": "9 ms"}
    return found


def merge_first(rng, s):
    s["server"]["merge_first"] = rng.randint(1, s["population"]["num_clients"])


def late(rng, s):
    if s["server"]["kind"] == "deadline" or "merge_first" in s["server"]:
        exponent = rng.choice((0, 0.5))
        s["server"] |= {"late": "next-round", "staleness_exponent": exponent}


def outages(rng, s):
    fixed = {"at": f"{rng.randint(0, 5000)} ms", "duration": "1 s"}
    drawn = {"mean_time_between": "4 s", "duration": f"{rng.randint(1, 900)} ms"}
    s["server"]["outages"] = [rng.choice((fixed, drawn))]


def corrects(rng, s):
    if "late" not in s["server"]:
        s["server"]["corrects_arrivals"] = True
    if "availability" in s["population"]:
        s["server"]["corrects_presence"] = True


def fading(rng, s):
    kind = rng.choice(("rayleigh", "rician", "rayleigh-fast"))
    found = {"kind": kind}
    if kind != "rayleigh-fast":
        found["coherence_time"] = f"{rng.choice((20, 50, 300))} ms"
    if kind == "rician":
        found["k_factor"] = "6 dB"
    for cell in s["cells"]:
        cell["fading"] = found


def latency(rng, s):
    found = {"latency": f"{rng.randint(0, 40)} ms"}
    if rng.random() < 0.5:
        found["jitter"] = {"kind": "exponential", "mean": "5 ms"}
    for cell in s["cells"]:
        cell[rng.choice(("uplink", "downlink"))] |= found


def errors(rng, s):
    found = {"probability": rng.choice((0.1, 0.5)), "max_retries": rng.randint(0, 3)}
    found |= {"backoff": "50 ms", "backoff_factor": rng.choice((1, 2))}
    way = rng.choice(("uplink", "downlink"))
    for cell in s["cells"]:
        cell[way]["errors"] = found


def outage(rng, s):
    found = {"minimum_snr": f"{rng.randint(-10, 15)} dB"}
    found["outage_timeout"] = f"{rng.choice((100, 700))} ms"
    for cell in s["cells"]:
        cell["uplink"] |= found


def backhaul(rng, s):
    for cell in s["cells"]:
        cell["backhaul"] = {"rate": rng.choice(("2 Mbit/s", "1 Gbit/s"))}
        cell["backhaul"]["latency"] = f"{rng.choice((0, 7))} ms"


def interference(rng, s):
    s["interference"] = {"reuse": rng.choice((1, 2))}


def mobility(rng, s):
    s["population"]["mobility"] = {
        "kind": "random-waypoint",
        "region": [["-250 m", "-250 m"], ["750 m", "250 m"]],
        "min_speed": "10 km/h",
        "max_speed": "150 km/h",
        "pause": f"{rng.choice((0, 2))} s",
        "interval": "300 ms",
    }


def availability(rng, s):
    s["population"]["availability"] = rng.choice(
        (
            {"kind": "markov", "mean_on": "3 s", "mean_off": "1 s"},
            {"kind": "periodic", "on": "2500 ms", "off": "800 ms"},
            {"kind": "diurnal", "day": "20 s", "peak": "5 s"},
        )
    )


def battery(rng, s):
    s["population"]["battery"] = {"capacity": f"{rng.choice((1, 6, 40))} J"}


def radio_band(rng, s):
    s["population"]["radio_band"] = f"{rng.choice((180, 700))} kHz"


def jitter(rng, s):
    s["population"]["compute_jitter"] = 0.3


def speeds(rng, s):
    s["population"]["speed_spread"] = {"kind": "log-normal", "sigma": 0.6}


def sizes(rng, s):
    num = s["population"]["num_clients"]
    s["learning"]["upload"] = [f"{rng.randint(1, 400)} kB" for _ in range(num)]


def time_limit(rng, s):
    s["stop"] = {"rounds": 30, "time": f"{rng.randint(1, 9000)} ms"}


ANYWHERE = (
    fading,
    latency,
    errors,
    outage,
    backhaul,
    mobility,
    availability,
    battery,
    radio_band,
    jitter,
    speeds,
    sizes,
    time_limit,
)
IN_ROUNDS = (merge_first, late, outages, corrects)


def _features(kind, num_cells):
    """Return what a server of a kind can be combined with."""
    if kind == "hierarchical":
        still = tuple(one for one in ANYWHERE if one is not mobility)
        return (*still, interference)
    more = (outages,) if kind in ROUNDLESS else IN_ROUNDS
    return (*ANYWHERE, *more, *((interference,) if num_cells > 1 else ()))


def scenario(seed, number):
    """Return a case's scenario, and the names of its features."""
    rng = random.Random(f"swarm {seed} {number}")
    kind, num_clients = rng.choice(SERVERS), rng.randint(1, 8)
    num_cells = 2 if kind == "hierarchical" or rng.random() < 0.25 else 1
    cells = [_one_cell(rng, kind in ROUNDLESS) for _ in range(num_cells)]
    for place, cell in enumerate(cells if num_cells > 1 else ()):
        cell |= {"name": f"c{place}", "position": [f"{500 * place} m", "0 m"]}
    found = {
        "name": f"swarm-{number}",
        "seed": rng.randint(0, 10**6),
        "stop": {"rounds": rng.randint(1, 12 if kind in ROUNDLESS else 5)},
        "server": _server(rng, kind, num_clients),
        "population": {
            "num_clients": num_clients,
            "placement": {"kind": "disc", "radius": "250 m", "min_distance": "35 m"},
            "devices": [{"device": "raspberry-pi-5"}, {"device": "jetson-nano"}],
        },
        "cells": cells,
        "learning": {
            "kind": "none",
            "download": f"{rng.choice((1, 300))} kB",
            "upload": f"{rng.choice((1, 200))} kB",
            "compute": f"{rng.choice((1, 50))} GFLOP",
        },
    }
    part = rng.choice((0.1, 0.3, 0.6))
    chosen = [one for one in _features(kind, num_cells) if rng.random() < part]
    for feature in chosen:
        feature(rng, found)
    if num_cells == 1:
        found["cell"] = found.pop("cells")[0]
    return found, [feature.__name__ for feature in chosen]
