"""Numbers with which a run would not end, or which no computation holds."""

import pytest

from netsim.band import progress
from tests.support.command import netsim

ROUNDS = ("--set", "stop={rounds: 2}", "--quiet")
REGION = "[[20 m, 20 m], [20.01 m, 20.01 m]]"
ENDLESS = {
    "an SNR that is never reached": (
        "cell.uplink.minimum_snr=99 dB",
        "has sent 0 % of 2400000 bits",
    ),
    "a radio too narrow": (
        "population.radio_band=1e-9 Hz",
        "would take over 12 days on the 1e-09 Hz of its `radio_band`",
    ),
    "a billion retries": (
        "cell.uplink.errors={probability: 0.5, max_retries: 1000000000}",
        "max_retries: must be at most 10000",
    ),
    "waypoints some milliseconds apart": (
        f"population.mobility={{kind: random-waypoint, region: {REGION}, "
        "min_speed: 1 m/s, max_speed: 2 m/s, interval: 1 s}",
        "passes more than 1,000 waypoints",
    ),
    "intervals of a millisecond": (
        "population.availability={kind: markov, mean_on: 1 ms, mean_off: 1 ms}",
        "comes and goes more than 1,000 times",
    ),
    # a fleet of several speeds: a check counts the fastest alone
    "three hundred years": (
        "population.devices=[{device: jetson-nano, share: 0.5}, {share: 0.5, device: "
        "{name: x, peak: 10 FLOP/s, efficiency: 1, memory: 8 GB, compute_power: 1 W, "
        "idle_power: 0 W}}]",
        "292 years of simulated",
    ),
}


@pytest.mark.parametrize("what", ENDLESS)
def test_a_run_that_would_not_end_is_refused_with_its_reason(
    what, tmp_path, capsys, monkeypatch
):
    override, reason = ENDLESS[what]
    monkeypatch.setattr(progress, "PATIENCE", 10_000)
    monkeypatch.setattr("netsim.mobility.random_waypoint.MAX_PASSED", 1_000)
    monkeypatch.setattr("netsim.availability.presence.MAX_PASSED", 1_000)
    slow = ("--set", "server.announce_time=1000 s")
    words = ("run", "network-only", *ROUNDS, *slow, "--set", override)
    assert netsim(*words, "--out", tmp_path / "run") == 2
    printed = capsys.readouterr().err
    assert reason in printed
    assert "Traceback" not in printed


TOO_LARGE = (
    "population.battery={capacity: 1e300 J}",
    "population.battery={capacity: 10 J, spread: {kind: log-normal, sigma: 1e200}}",
    "population.placement={kind: ring, distance: 1e300 m}",
    "population.devices=[{device: {name: x, peak: 1 TFLOP/s, efficiency: 0.5, "
    "memory: 8 GB, compute_power: 1e308 W, idle_power: 1 W}}]",
    "population.radio_band=1e308 Hz",
    "cell.path_loss.base_height=1e300 m",
    "cell.uplink.radio={kind: fixed-power, max_efficiency: 1e300 bit/s/Hz}",
    "stop.rounds=9223372036854775808",
)


@pytest.mark.parametrize("override", TOO_LARGE)
def test_a_number_that_no_computation_holds_is_refused(override, capsys):
    assert netsim("check", "network-only", "--set", override) == 2
    printed = capsys.readouterr().err
    assert "must be" in printed
    assert "Traceback" not in printed


def test_a_slow_transfer_that_gets_on_is_not_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", 50)
    out = ("--out", tmp_path / "run")
    slow = ("cell.uplink.band=1 MHz", "cell.fading.coherence_time=10 ms")
    words = [word for one in slow for word in ("--set", one)]
    assert netsim("run", "network-only", *ROUNDS, *words, *out) == 0
