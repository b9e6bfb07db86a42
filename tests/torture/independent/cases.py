"""Small valid scenarios for the reference clock, each a function of its number."""

import random

from tests.torture.sharing_rules import PER_ROUND, RULES

SERVERS = (
    "synchronous",
    "deadline",
    "merge-first",
    "buffered",
    "asynchronous",
    "late",
    "plain",
)


def _server(kind, rng, num_clients):
    """Return a server's YAML."""
    times = {"announce_time": f"{rng.choice((0, 10, 17))} ms"}
    merge = {"merge_time": f"{rng.choice((0, 20, 33))} ms"}
    if kind in ("buffered", "asynchronous"):
        size = {"buffer_size": rng.randint(1, 3)} if kind == "buffered" else {}
        size["concurrency"] = rng.randint(2, num_clients)
        return {"kind": kind, **size, **merge}
    sampling = rng.choice(
        (
            {"kind": "independent", "probability": rng.choice((0.3, 0.6, 0.9))},
            {"kind": "uniform", "num_drawn": rng.randint(1, num_clients)},
            {"kind": "full"},
        )
    )
    found = {"sampling": sampling, **times, **merge}
    if kind in ("deadline", "late"):
        late = {"late": "next-round"} if kind == "late" else {}
        deadline = f"{rng.randint(900, 3000)} ms"
        return {"kind": "deadline", "deadline": deadline, **late, **found}
    if kind == "merge-first":
        drawn = rng.randint(2, num_clients)
        found["sampling"] = {"kind": "uniform", "num_drawn": drawn}
        found["merge_first"] = rng.randint(1, drawn)
    return {"kind": "synchronous", **found}


def _uplink(rule, kind, rng):
    """Return an uplink's YAML."""
    band = rng.choice((1, 3, 5))
    radio = {"kind": "per-hertz", "reference_band": f"{band} MHz", "gap": "3 dB"}
    if kind == "plain" or rng.random() < 0.6:
        found = {}
    elif rng.random() < 0.5:
        radio = {"kind": "fixed-power", "gap": "3 dB"}
        found = {}
    elif rng.random() < 0.5:
        found = {"latency": f"{rng.randint(1, 40)} ms"}
    else:
        retries = {"max_retries": 2, "backoff": "50 ms", "backoff_factor": 2}
        found = {"errors": {"probability": 0.2, **retries}}
    return {"band": f"{band} MHz", "radio": radio, "sharing": rule, **found}


def clock_case(number):
    """Return case ``number`` as a scenario's mapping."""
    rng = random.Random(f"clock {number}")
    rule = RULES[number % len(RULES)]
    kind = SERVERS[number // len(RULES) % len(SERVERS)]
    if rule in PER_ROUND and kind in ("buffered", "asynchronous", "late"):
        kind = rng.choice(("synchronous", "deadline", "plain"))
    num_clients = rng.randint(3, 8)
    unicast = kind in ("buffered", "asynchronous") or (
        kind != "plain" and rng.random() < 0.2
    )
    per_hertz = {"kind": "per-hertz", "reference_band": "10 MHz", "gap": "3 dB"}
    down = {"band": "10 MHz", "radio": per_hertz}
    if unicast:
        down |= {"mode": "unicast", "sharing": "processor-sharing"}
    fading = {"kind": "rayleigh", "coherence_time": f"{rng.choice((20, 50))} ms"}
    distinct = rule == "tdma-shortest-first"  # a tie asks for an uncapped channel
    sizes = [f"{size} kB" for size in rng.sample(range(20, 400), num_clients)]
    scenario = {
        "name": f"clock-{number}",
        "seed": number,
        "stop": {"rounds": 4 if kind not in ("buffered", "asynchronous") else 12},
        "server": _server(kind, rng, num_clients),
        "population": {
            "num_clients": num_clients,
            "placement": {"kind": "disc", "radius": "250 m", "min_distance": "15 m"},
            "devices": [{"device": "raspberry-pi-5"}, {"device": "jetson-nano"}],
            "compute_jitter": 0.0 if kind == "plain" else 0.2,
        },
        "cell": {
            "uplink": _uplink(rule, kind, rng),
            "downlink": down,
            "path_loss": {"kind": "umi", "carrier": "3.5 GHz"},
        },
        "learning": {
            "kind": "none",
            "download": "300 kB",
            "upload": sizes if distinct or rng.random() < 0.6 else sizes[0],
            "compute": "50 GFLOP",
        },
    }
    fixed_power = scenario["cell"]["uplink"]["radio"]["kind"] == "fixed-power"
    if kind != "plain" and not fixed_power and rng.random() < 0.4:
        scenario["cell"]["fading"] = fading
    if not fixed_power and kind != "plain" and rng.random() < 0.2:
        scenario["population"]["radio_band"] = "700 kHz"
    return scenario
