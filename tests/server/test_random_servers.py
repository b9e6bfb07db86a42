"""Servers, absences, batteries and outages by chance together: every run is sound."""

import random

import pytest

from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
from netsim.timeline import write_timeline
from netsim.verify import verify

UNICAST = (
    "cell.downlink={band: 10 MHz, radio: {kind: per-hertz, reference_band: 10 MHz}, "
    "mode: unicast, sharing: processor-sharing}"
)
ABSENCES = (
    "always",
    "{kind: periodic, on: 10 s, off: 3 s}",
    "{kind: markov, mean_on: 5 s, mean_off: 2 s}",
    "{kind: markov, mean_on: 30 s, mean_off: 10 s}",
    "{kind: diurnal, low: 0, high: 0.6, day: 30 s, peak: 5 s, spread: 10 s}",
)
OUTAGES = (
    "[]",
    "[{at: 2 s, duration: 3 s}, {at: 9 s, duration: 500 ms}]",
    "[{mean_time_between: 5 s, duration: 1 s}]",
)
BATTERY = "population.battery={capacity: 60 J, spread: {kind: log-normal, sigma: 0.4}}"


def asynchronous(rng, num_clients):
    at_work = rng.randint(1, num_clients)
    if rng.random() < 0.5:
        return f"kind: asynchronous, concurrency: {at_work}"
    size = rng.randint(1, at_work)
    return f"kind: buffered, concurrency: {at_work}, buffer_size: {size}"


def in_rounds(rng, num_clients):
    has_deadline = rng.random() < 0.5
    parts = ["kind: deadline, deadline: 3 s" if has_deadline else "kind: synchronous"]
    num_drawn = rng.randint(1, num_clients)
    uniform = f"{{kind: uniform, num_drawn: {num_drawn}}}"
    independent = "{kind: independent, probability: 0.6}"
    sampling = rng.choice([uniform, independent, "full"])
    parts.append(f"sampling: {sampling}, announce_time: {rng.choice([0, 10])} ms")
    has_first = rng.random() < 0.5
    if has_first:
        parts.append(f"merge_first: {rng.randint(1, num_clients)}")
    if (has_first or has_deadline) and rng.random() < 0.6:
        parts.append("late: next-round, staleness_exponent: 0.5")
    return ", ".join(parts)


def chosen(rng):
    """Return overrides that some scenario may well have."""
    num_clients = rng.choice([3, 8, 20])
    has_rounds = rng.random() < 0.6
    server = (in_rounds if has_rounds else asynchronous)(rng, num_clients)
    yield f"seed={rng.randrange(1000)}"
    yield f"population.num_clients={num_clients}"
    merge = f"merge_time: {rng.choice([0, 20, 700])} ms"
    yield f"server={{{server}, {merge}, outages: {rng.choice(OUTAGES)}}}"
    yield f"population.availability={rng.choice(ABSENCES)}"
    if rng.random() < 0.5:
        yield BATTERY
    if not has_rounds or rng.random() < 0.3:
        yield UNICAST
    if rng.random() < 0.3:
        yield "cell.uplink.sharing=tdma-first-come"
    yield f"learning.download={rng.choice([0, 300])} kB"
    yield "stop={rounds: 8, time: 3 min}"


@pytest.mark.parametrize("number", range(24))
def test_a_run_is_sound_whatever_comes_together(number, tmp_path):
    overrides = tuple(chosen(random.Random(number)))
    config = read_scenario(find_scenario("network-only"), overrides)
    first, again = (run_scenario(config, tmp_path / name) for name in ("a", "b"))
    assert verify(tmp_path / "a") == [], overrides
    assert first.digest == again.digest
    assert write_timeline(tmp_path / "a", tmp_path / "a" / "timeline.json") > 0
