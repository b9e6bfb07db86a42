"""Tasks without a process of their own leave the trace that tasks with one leave."""

import pytest

from netsim.band import SharedBand
from netsim.client import client
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario

SMALL = ("population.num_clients=7", "server.sampling=full", "stop.rounds=3")
UNICAST = ("cell.downlink.mode=unicast", "cell.downlink.sharing=processor-sharing")
STILL = "cell.fading=none"
SAME_TIME = (
    "population.compute_jitter=0",
    "population.placement={kind: ring, distance: 90 m}",
)
FREE = ("server.announce_time=0 s", "server.merge_time=0 s", "learning.compute=0 FLOP")
AHEAD = {
    "processor sharing": (),
    "fast fading": ("cell.fading=rayleigh-fast",),
    "equal-fixed": ("cell.uplink.sharing=equal-fixed",),
    "equal-finish": ("cell.uplink.sharing=equal-finish",),
    "work-conserving": ("cell.uplink.sharing=work-conserving",),
    "narrow radios": ("population.radio_band=1 MHz",),
    "wide cell": ("population.radio_band=600 kHz",),
    "all at once": SAME_TIME,
    "no pauses": (*FREE, "learning.download=0 B"),
}
BY_CALLBACKS = {
    "fading": ("cell.fading={kind: rayleigh, coherence_time: 50 ms}",),
    "unequal radios": (
        f"population.radio_band=[{', '.join(['2 MHz', '1 MHz'] * 3 + ['4 MHz'])}]",
    ),
    "fixed power": ("cell.uplink.radio={kind: fixed-power}",),
    "one by one": ("cell.uplink.sharing=tdma-first-come",),
    "unicast": (*UNICAST, "cell.uplink.radio.max_efficiency=3 bit/s/Hz"),
    "unicast at once": (*UNICAST, *SAME_TIME, *FREE),
    "nothing to send": ("learning.upload=0 B",),
}


def network_digest(folder, scenario, overrides):
    read = read_scenario(find_scenario(scenario), overrides)
    return run_scenario(read, folder).network_digest


@pytest.fixture
def digests(monkeypatch, tmp_path):
    """Return the digests of a run without and with processes, and how often its band
    was played ahead."""

    def of(*overrides, scenario="network-only"):
        caught_up = []
        catch_up = SharedBand.catch_up
        with monkeypatch.context() as patch:

            def noted(band, ahead):
                caught_up.append(band)
                catch_up(band, ahead)

            patch.setattr(SharedBand, "catch_up", noted)
            found = network_digest(tmp_path / "ours", scenario, overrides)
        with monkeypatch.context() as patch:
            patch.setattr(client, "is_undisturbed", lambda scene, cell_id: False)
            expected = network_digest(tmp_path / "processes", scenario, overrides)
        return found, expected, len(caught_up)

    return of


@pytest.mark.parametrize("case", AHEAD)
def test_a_round_played_ahead_has_the_digest_of_one_with_processes(case, digests):
    found, expected, num_ahead = digests(*SMALL, STILL, *AHEAD[case])
    assert (found, num_ahead) == (expected, 3)


@pytest.mark.parametrize("case", BY_CALLBACKS)
def test_tasks_by_callbacks_have_the_digest_of_tasks_with_processes(case, digests):
    found, expected, num_ahead = digests(*SMALL, STILL, *BY_CALLBACKS[case])
    assert (found, num_ahead) == (expected, 0)


@pytest.mark.parametrize("scenario", ["hierarchical", "several-cells"])
def test_cells_that_work_at_the_same_time_keep_the_order_of_their_rows(
    scenario, digests
):
    found, expected, num_ahead = digests("stop.rounds=2", scenario=scenario)
    assert (found, num_ahead) == (expected, 0)
