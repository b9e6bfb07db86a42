"""Sizes, work and radios that a scenario lists client by client."""

import pytest

from netsim import load_run
from netsim.cosim.cost import estimate
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.errors import InputError
from netsim.verify import verify

SCENARIO = """
name: two
stop: {rounds: 1}
server: {kind: synchronous, sampling: full, announce_time: 0 s, merge_time: 0 s}
population:
  num_clients: 2
  placement: {kind: ring, distance: 20 m}
  devices:
    - device:
        {name: abacus, peak: 1 GFLOP/s, efficiency: 1, memory: 1 GB,
         compute_power: 1 W, idle_power: 1 W}
cell:
  uplink:
    band: 2 MHz
    radio: {kind: per-hertz, reference_band: 2 MHz, max_efficiency: 1 bit/s/Hz}
    sharing: processor-sharing
  downlink:
    band: 2 MHz
    radio: {kind: per-hertz, reference_band: 2 MHz, max_efficiency: 1 bit/s/Hz}
  path_loss: {kind: log-distance, exponent: 2, reference_loss: 40 dB}
learning: {kind: none, download: 0 B, upload: 1 Mbit, compute: 0 FLOP}
"""


def read(tmp_path, *overrides):
    path = tmp_path / "two.yaml"
    path.write_text(SCENARIO)
    return read_scenario(path, overrides)


def ends_s(tmp_path, *overrides):
    run_scenario(read(tmp_path, *overrides), tmp_path / "run")
    assert verify(tmp_path / "run") == []
    tasks = load_run(tmp_path / "run").tasks.sort_values("client_id")
    return (tasks.end_ns / 1e9).tolist()


def test_listed_uploads_share_until_the_small_one_is_through(tmp_path):
    assert ends_s(tmp_path, "learning.upload=[1 Mbit, 3 Mbit]") == [1.0, 2.0]


def test_listed_work_makes_clients_start_one_after_the_other(tmp_path):
    # alone at 2 Mbit/s for 0.25 s, then 1 Mbit/s each; the second ends alone
    ends = ends_s(tmp_path, "learning.compute=[0 FLOP, 250 MFLOP]")
    assert ends == [0.75, 1.0]


def test_a_listed_ceiling_leaves_its_rest_to_the_others(tmp_path):
    ends = ends_s(
        tmp_path,
        "population.radio_band=[500 kHz, 4 MHz]",
        "learning.upload=[1 Mbit, 4.5 Mbit]",
    )
    assert ends == [2.0, 2.75]


def test_a_listed_download_is_each_clients_own(tmp_path):
    run = tmp_path / "run"
    run_scenario(read(tmp_path, "learning.download=[1 Mbit, 3 Mbit]"), run)
    down = load_run(run).transfers.query("direction == 'down'")
    assert sorted(zip(down.client_id, down.end_ns, strict=True)) == [
        (0, 10**9),
        (1, 2 * 10**9),
    ]


def test_a_broadcast_is_heard_by_the_narrowest_radio_too(tmp_path):
    overrides = ("population.radio_band=[500 kHz, 4 MHz]", "learning.download=1 Mbit")
    run_scenario(read(tmp_path, *overrides), tmp_path / "run")
    assert load_run(tmp_path / "run").tasks.download_end_ns.tolist() == [2 * 10**9] * 2


@pytest.mark.parametrize(
    ("override", "path"),
    [
        ("learning.upload=[1 MB]", "learning.upload"),
        ("learning.compute=[1 FLOP, 1 FLOP, 1 FLOP]", "learning.compute"),
        ("learning.download=[]", "learning.download"),
        ("population.radio_band=[1 MHz]", "population.radio_band"),
    ],
)
def test_a_list_of_another_length_is_refused(override, path, tmp_path):
    with pytest.raises(InputError, match=f"{path}: lists . values for 2 clients"):
        read(tmp_path, override)


def test_a_wrong_item_is_named_by_its_place(tmp_path):
    with pytest.raises(InputError, match=r"learning.upload\[?.?1.*needs a unit"):
        read(tmp_path, "learning.upload=[1 MB, 2]")


def test_clients_of_unlike_size_are_not_planned_as_if_alike(tmp_path):
    scenario = read(
        tmp_path,
        "learning.compute=[0 FLOP, 1 FLOP]",
        "server.sampling=null",
        "policy={kind: proportional, to: system, num_expected: 1}",
    )
    with pytest.raises(InputError, match="needs one size and work for all"):
        run_scenario(scenario, tmp_path / "run")


def test_the_cost_of_listed_clients_is_said_of_one(tmp_path):
    scenario = read(tmp_path, "learning.upload=[1 MB, 2 MB]")
    learner = scenario.learning.known_learner(2, 0, may_count=False)
    assert "participation of client 0: download" in "\n".join(
        estimate(scenario, learner)
    )
