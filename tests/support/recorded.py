"""Small recorded runs, one for each kind of server and of network, for audits."""

from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import FOLDER, find_scenario

SMALL = ("population.num_clients=8", "stop={rounds: 4}", "cell.fading=none")
UNICAST = (
    "cell.downlink={band: 10 MHz, radio: {kind: fixed-power}, mode: unicast, "
    "sharing: processor-sharing}",
)
ELASTIC = "cell.uplink.sharing=processor-sharing"
COMES_AND_GOES = "population.availability={kind: markov, mean_on: 20 s, mean_off: 4 s}"
SPREAD = (
    "population.compute_jitter=0.3",
    "population.speed_spread={kind: log-normal, sigma: 0.5}",
)
RUNS = {
    "synchronous": ("network-only", *SMALL, *SPREAD),
    "over-selection": (
        "network-only",
        *SMALL,
        *SPREAD,
        ELASTIC,
        "server={kind: synchronous, sampling: {kind: independent, probability: 0.7}, "
        "announce_time: 10 ms, merge_time: 1 ms, merge_first: 4, "
        "corrects_arrivals: true}",
    ),
    "late": (
        "network-only",
        *SMALL,
        *SPREAD,
        ELASTIC,
        COMES_AND_GOES,
        "stop={rounds: 12}",
        "server={kind: deadline, deadline: 2.2 s, sampling: full, announce_time: 10 ms,"
        " merge_time: 1 ms, late: next-round, staleness_exponent: 0.5, "
        "corrects_presence: true, outages: [{at: 6 s, duration: 1 s}]}",
    ),
    "deadline": (
        "network-only",
        *SMALL,
        *SPREAD,
        "population.battery={capacity: 25 J}",
        "server={kind: deadline, deadline: 2.2 s, announce_time: 1 ms, "
        "sampling: {kind: uniform, num_drawn: 7}, merge_time: 0 s}",
    ),
    "buffered": (
        "network-only",
        *SMALL,
        *SPREAD,
        *UNICAST,
        ELASTIC,
        COMES_AND_GOES,
        "stop={rounds: 10}",
        "server={kind: buffered, concurrency: 6, buffer_size: 3, merge_time: 5 ms, "
        "outages: [{at: 6 s, duration: 1 s}]}",
    ),
    "asynchronous": (
        "network-only",
        *SMALL,
        *SPREAD,
        *UNICAST,
        ELASTIC,
        "stop={time: 10 s}",
        "server={kind: asynchronous, concurrency: 5, merge_time: 1 ms}",
    ),
    "hierarchical": ("hierarchical", "population.num_clients=12", "stop={rounds: 4}"),
    "handover": ("recorded-ways", "stop={rounds: 3}"),
    "lossy": ("lossy-uplink", "population.num_clients=12", "stop={rounds: 4}"),
    "links": ("measured-links", "population.num_clients=8", "stop={rounds: 3}"),
    "cells": ("several-cells", "population.num_clients=12", "stop={rounds: 2}"),
    "measured": (
        "network-only",
        *SMALL,
        ELASTIC,
        f"cell.uplink.radio={{kind: measured, reference_band: 10 MHz, "
        f"path: {FOLDER / 'traces' / 'walk.up'}}}",
        "stop={rounds: 2}",
    ),
    "adaptive": (
        "adaptive",
        "population.num_clients=8",
        "stop={rounds: 3}",
        "policy.resolve_every=1",
        "policy.pilots=[{probability: 0.5, rounds: 1}, {probability: 1.0, rounds: 1}, "
        "{probability: 0.5, rank: 4, rounds: 1}]",
        "learning.training.local_steps=1",
    ),
    "learned": (
        "quickstart",
        "population.num_clients=6",
        "stop={rounds: 3, target: {metric: accuracy, level: 0.99}}",
        "server.sampling={kind: uniform, num_drawn: 4}",
        "learning.training.local_steps=1",
        "learning.evaluation={clients: {count: 2}, updates: true}",
    ),
}


def record(name, folder):
    """Run one of ``RUNS`` into a folder and return the folder."""
    scenario, *overrides = RUNS[name]
    run_scenario(read_scenario(find_scenario(scenario), tuple(overrides)), folder)
    return folder
