"""What a change trains again is said before the run, and the run bears it out."""

import pytest

from netsim.cosim.reading import read_scenario
from netsim.cosim.replay import recorded_scenario
from netsim.cosim.reuse import conclusion, verdicts
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_store")]

DEADLINE = (
    "server={kind: deadline, deadline: 900 ms, announce_time: 1 ms, "
    "merge_time: 0 s, sampling: {kind: uniform, num_drawn: 6}}"
)
UNICAST = (
    "cell.downlink={band: 10 MHz, radio: {kind: fixed-power}, "
    "mode: unicast, sharing: processor-sharing}",
    "cell.uplink.sharing=processor-sharing",
)
BUFFERED = (
    "server={kind: buffered, concurrency: 6, buffer_size: 3, merge_time: 5 ms}",
    *UNICAST,
)
ASYNCHRONOUS = (
    "server={kind: asynchronous, concurrency: 6, merge_time: 5 ms}",
    *UNICAST,
)
CHURN = "population.availability={kind: markov, mean_on: 2 s, mean_off: 1 s}"
PATIENT = ()
FRAGILE = ("cell.uplink.minimum_snr=0 dB", "cell.uplink.outage_timeout=1 s")
LOSSY = ("cell.downlink.errors={packet_error_rate: 1e-3, max_retries: 0}",)
BAND = "cell.uplink.band=1 MHz"


AIR = (
    "{{name: {0}, path_loss: {{kind: umi, carrier: 3.5 GHz}}, "
    "uplink: {{band: 5 MHz, radio: {{kind: fixed-power}}, errors: {1}, "
    "sharing: processor-sharing}}, "
    "downlink: {{band: 5 MHz, radio: {{kind: fixed-power}}}}}}"
)


def scenario(*overrides):
    base = ("stop.rounds=3", "learning.training.local_steps=1", "seed=3")
    return read_scenario(find_scenario("quickstart"), (*base, *overrides))


def effects(recorded, changed):
    found = verdicts(scenario(*recorded), scenario(*recorded, *changed))
    return {verdict.change.dotted: verdict.effect for verdict in found}


@pytest.mark.parametrize(
    ("recorded", "change", "effect"),
    [
        (PATIENT, BAND, "nothing"),
        (PATIENT, "cell.uplink.sharing=tdma-first-come", "nothing"),
        (PATIENT, "cell.path_loss.carrier=2 GHz", "nothing"),
        (PATIENT, "population.compute_jitter=0.3", "nothing"),
        (PATIENT, "population.placement.radius=100 m", "nothing"),
        (PATIENT, "population.devices=[{device: jetson-nano}]", "nothing"),
        (PATIENT, "server.merge_time=1 s", "nothing"),
        (PATIENT, "learning.evaluation.limit=50", "nothing"),
        (PATIENT, "learning.timing_as={model: llama-3.2-1b}", "nothing"),
        (PATIENT, "learning.cohort_size=3", "all"),
        (PATIENT, "name=other", "nothing"),
        (PATIENT, "association=nearest", "nothing"),
        (PATIENT, "cell.uplink.latency=1 s", "nothing"),
        (PATIENT, "cell.uplink.errors={probability: 0.5, max_retries: 0}", "some"),
        (FRAGILE, BAND, "some"),
        (LOSSY, BAND, "nothing"),
        (LOSSY, "learning.timing_as={model: llama-3.2-1b}", "some"),
        (PATIENT, "stop.rounds=4", "more"),
        (PATIENT, "population.num_clients=21", "all"),
        (PATIENT, "learning.training.learning_rate=1e-3", "all"),
        (PATIENT, "learning.payload.precision=bfloat16", "all"),
        (PATIENT, "seed=4", "all"),
        (PATIENT, "server.sampling.probability=0.6", "some"),
        (PATIENT, "server.sampling=full", "some"),
        (PATIENT, "learning.aggregation=fedit", "some"),
        (PATIENT, "ranks={kind: fixed, rank: 4}", "some"),
        ((DEADLINE,), BAND, "some"),
        ((DEADLINE,), "server.deadline=800 ms", "some"),
        (BUFFERED, "cell.uplink.band=1 MHz", "some"),
        (("server.merge_first=3",), BAND, "some"),
        (("server.outages=[{at: 9 s, duration: 1 s}]",), BAND, "some"),
        (("population.battery={capacity: 2 kJ}",), BAND, "some"),
        ((CHURN,), "server.merge_time=1 s", "some"),
        (PATIENT, CHURN, "some"),
        (PATIENT, "population.battery={capacity: 2 kJ}", "some"),
        (PATIENT, "server.merge_first=3", "some"),
        (PATIENT, "server.outages=[{at: 9 s, duration: 1 s}]", "some"),
        (ASYNCHRONOUS, "cell.uplink.band=1 MHz", "some"),
        (("stop.time=9 s",), BAND, "more"),
        (("stop.target={level: 0.6}",), BAND, "nothing"),
        (("stop.target={level: 0.6}",), "learning.evaluation.every=2", "more"),
    ],
)
def test_each_kind_of_change_has_its_effect(recorded, change, effect):
    assert effects(recorded, [change]) == {change.partition("=")[0]: effect}


def test_a_broadcast_is_lost_by_other_draws_than_messages_of_ones_own():
    unicast = ["cell.downlink.mode=unicast", "cell.downlink.sharing=processor-sharing"]
    assert effects(LOSSY, unicast)["cell.downlink.mode"] == "some"
    assert effects(PATIENT, unicast)["cell.downlink.mode"] == "nothing"


def test_who_is_in_which_cell_decides_where_cells_lose_messages():
    lossy = "{probability: 0.5, max_retries: 0}"
    two = [
        "cell=null",
        "cells=["
        + ", ".join(
            AIR.format(name, errors) for name, errors in (("a", lossy), ("b", "null"))
        )
        + "]",
    ]
    assert effects(two, ["association=nearest"]) == {"association": "some"}
    quiet = [text.replace(lossy, "null") for text in two]
    assert effects(quiet, ["association=nearest"]) == {"association": "nothing"}


def test_tiered_ranks_look_at_devices_and_at_nothing_else():
    tiered = ("ranks={kind: tiered, tiers: [{device: jetson-nano, rank: 4}]}",)
    assert set(effects(tiered, [BAND]).values()) == {"nothing"}
    devices = "population.devices=[{device: jetson-nano}]"
    assert set(effects(tiered, [devices]).values()) == {"some"}


RUNS = [
    (PATIENT, [BAND, "population.compute_jitter=0.5"], "reused", 0),
    (PATIENT, ["learning.cohort_size=3"], "again", None),
    (("stop={rounds: 9, time: 2 s}",), ["cell.uplink.band=9 MHz"], "both", None),
    (PATIENT, ["learning.aggregation=fedit"], "again", None),
    ((DEADLINE,), [BAND], "again", None),
    (BUFFERED, ["cell.uplink.band=500 kHz"], "again", None),
    ((*ASYNCHRONOUS, "stop.rounds=12"), ["cell.uplink.band=300 kHz"], "again", None),
    ((CHURN,), ["cell.uplink.band=300 kHz"], "again", None),
    (PATIENT, ["server.merge_first=3"], "again", None),
]


@pytest.mark.parametrize(("recorded", "changed", "said", "num_trained"), RUNS)
def test_the_counters_bear_the_statement_out(
    recorded, changed, said, num_trained, tmp_path
):
    run_scenario(scenario(*recorded), tmp_path / "run")
    before = recorded_scenario(tmp_path / "run")
    after = recorded_scenario(tmp_path / "run", tuple(changed))
    assert said in conclusion(verdicts(before, after))
    manifest = run_scenario(after, tmp_path / "again")
    if num_trained is None:
        assert manifest.steps_trained > 0
    else:
        assert manifest.steps_trained == num_trained
        assert manifest.steps_reused > 0


@pytest.mark.parametrize(
    ("change", "effect"),
    [
        ("learning.evaluation.every=3", "some"),
        ("learning.evaluation.limit=50", "some"),
        ("learning.evaluation.clients={every: 2}", "nothing"),
    ],
)
def test_pilots_look_at_the_loss(change, effect):
    """What a pilot's curve shows goes into the plan, and that into who trains."""
    before, after = (
        read_scenario(find_scenario("adaptive"), over) for over in ((), (change,))
    )
    assert {verdict.effect for verdict in verdicts(before, after)} == {effect}


def test_without_learning_there_is_nothing_to_say():
    before, after = (
        read_scenario(find_scenario("network-only"), over) for over in ((), (BAND,))
    )
    assert verdicts(before, after) == []


def test_the_command_says_it_first_and_takes_workers(tmp_path, capsys):
    from tests.support.command import netsim

    small = [f"--set={one}" for one in ("stop.rounds=1", "learning.cohort_size=4")]
    assert netsim("run", "quickstart", *small, "--out", tmp_path / "run") == 0
    capsys.readouterr()
    replay = ("replay", tmp_path / "run", "--workers", 2)
    out = ("--out", tmp_path / "narrow")
    assert netsim(*replay, "--set", BAND, *out) == 0
    printed = capsys.readouterr()
    first, second, *_ = printed.err.splitlines()
    assert first == "cell.uplink.band: 2 MHz -> 1 MHz: times alone; learning is reused"
    assert second.startswith("learning: all of it is reused")
    assert " 0 steps trained" in printed.out
    assert netsim(*replay, "--fresh") == 0
    assert "same digest" in capsys.readouterr().out


def test_workers_from_python_are_counted(tmp_path):
    import netsim as package
    from netsim.errors import InputError

    with pytest.raises(InputError, match="workers must be at least 1, got 0"):
        package.run("network-only", out=tmp_path / "none", workers=0)
    run = package.run("network-only", "stop.rounds=1", out=tmp_path / "x", workers=2)
    assert len(run.rounds) == 1
