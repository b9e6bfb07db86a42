"""Settings that no clock can hold are refused before anything runs."""

import pytest

from netsim.cosim.reading import read_scenario
from netsim.cosim.shipped import find_scenario
from netsim.cosim.world import build_population
from netsim.errors import InputError

WAYPOINTS = (
    "{kind: random-waypoint, pause: 0 s, interval: 1 s, region: [[0 m, 0 m], "
    "[%s, %s]], min_speed: %s, max_speed: %s}"
)
TOO_LONG = {
    "latency": (
        ("cell.uplink.latency=9e9 s",),
        "cell.uplink.latency: takes 9e+09 s of each round, and 50 such rounds of "
        "9e+09 s take more than 292 years of simulated time; shorten it",
    ),
    "two latencies": (
        (
            "cell.uplink.latency=5e9 s",
            "cell.downlink.latency=6e9 s",
            "stop={time: 1 s}",
        ),
        "latency: takes 6e+09 s of each round, and 1 such rounds of 1.1e+10 s",
    ),
    "announcements": (("server.announce_time=9e9 s",), "server.announce_time: takes"),
    "merges": (("server.merge_time=1e9 s",), "server.merge_time: takes"),
    "grants": (
        ("cell.uplink.transport={grant_delay: 9e9 s}",),
        "cell.uplink.transport: takes",
    ),
    "backhaul latency": (
        ("cell.backhaul={rate: 1 Gbit/s, latency: 9e9 s}",),
        "cell.backhaul.latency: takes",
    ),
    "work": (
        (
            "learning.compute=9e18 FLOP",
            "population.devices=[{device: raspberry-pi-5}]",
        ),
        "population.devices: takes",
    ),
    "backhaul rate": (
        ("cell.backhaul={rate: 1 bit/s, latency: 5 ms}",),
        "backhaul.rate: 2400000 bits would take over 12 days at 1 bit/s",
    ),
    "headers": (
        ("cell.uplink.transport={payload: 1 B, header: 4 GB}",),
        "would take over 12 days on the whole band",
    ),
    "backoff": (
        ("cell.uplink.errors={probability: 0.9, max_retries: 3, backoff: 9e9 s}",),
        "`backoff` would grow beyond any run: all 3 of them take over 9.2e+09 s",
    ),
    "exponential jitter": (
        ("cell.uplink.jitter={kind: exponential, mean: 1e9 s}",),
        "jitter: mean must be so short that every draw is below 9.2e+09 s",
    ),
    "log-normal jitter": (
        ("cell.uplink.jitter={kind: log-normal, mean: 1 h, sigma: 5}",),
        "jitter: mean must be so short that every draw is below 9.2e+09 s",
    ),
    "slow clients": (
        (f"population.mobility={WAYPOINTS % ('9 m', '9 m', '1e-12 m/s', '1 m/s')}",),
        "mobility: min_speed must cross the region's 12.7279 m within 9.2e+09 s",
    ),
    "a small region": (
        (f"population.mobility={WAYPOINTS % ('1e-5 m', '1e-5 m', '3 m/s', '9 m/s')}",),
        "a client would pass over 100,000 waypoints in one `interval` of 1 s",
    ),
    "no time at all": (
        (
            "learning={kind: none, download: 0 bit, upload: 0 bit, compute: 0 FLOP}",
            "server.announce_time=0 s",
            "server.merge_time=0 s",
            "stop={time: 10 s}",
        ),
        "stop.time: is never reached, for no round takes simulated time",
    ),
}


def drawn(overrides):
    """Read a scenario and draw its population, as `check` does."""
    scenario = read_scenario(find_scenario("network-only"), overrides)
    population = scenario.population
    learner = scenario.learning.known_learner(
        population.num_clients, scenario.seed, may_count=False
    )
    return build_population(scenario, learner)


@pytest.mark.parametrize("name", TOO_LONG)
def test_what_takes_longer_than_the_clock_is_refused_by_a_check(name):
    overrides, message = TOO_LONG[name]
    with pytest.raises(InputError) as caught:
        drawn(overrides)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "overrides",
    [
        ("cell.uplink.latency=9e9 s", "stop={time: 10 s}"),
        ("cell.uplink.latency=9e9 s", "stop.rounds=1"),
        (
            "cell.uplink.latency=9e9 s",
            "server={kind: deadline, deadline: 10 s, sampling: full, "
            "announce_time: 0 s, merge_time: 0 s}",
        ),
        ("server.merge_time=1e8 s",),
        (
            "cell.uplink.errors={probability: 0.5, max_retries: 60, backoff: 1 s, "
            "backoff_factor: 1.4}",
        ),
    ],
)
def test_what_the_clock_holds_is_not_refused(overrides):
    assert drawn(overrides).fleet is not None
