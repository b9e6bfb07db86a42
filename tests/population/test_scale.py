"""A big population costs a vector of draws per round, and a trace of what happened."""

import sys

import pytest

from netsim import load_run
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
from netsim.verify import verify

NUM_ROUNDS, NUM_DRAWN = 4, 20
HAPPENED = ("rounds", "tasks", "transfers", "segments", "bands", "events", "merges")
UNICAST = (
    "cell.downlink={band: 100 MHz, radio: {kind: per-hertz, reference_band: 100 MHz}, "
    "mode: unicast, sharing: processor-sharing, transmit_power: 40 dBm}"
)
WAYS = {
    "uniform": lambda n: (
        f"server.sampling={{kind: uniform, num_drawn: {NUM_DRAWN}}}",
    ),
    "weighted": lambda n: (
        f"server.sampling={{kind: weighted, num_draws: {NUM_DRAWN}}}",
    ),
    "independent": lambda n: (
        f"server.sampling={{kind: independent, probability: {NUM_DRAWN / n}}}",
    ),
    "data-weighted": lambda n: (
        f"server.sampling={{kind: data-weighted, num_expected: {NUM_DRAWN}}}",
    ),
    "buffered": lambda n: (
        f"server={{kind: buffered, concurrency: {NUM_DRAWN}, buffer_size: 10, "
        "merge_time: 1 s}",
        UNICAST,
    ),
}


def million(num_clients, way):
    overrides = (
        f"population.num_clients={num_clients}",
        f"stop.rounds={NUM_ROUNDS}",
        *WAYS[way](num_clients),
    )
    return read_scenario(find_scenario("million"), overrides)


def played(scenario, folder):
    """Return the calls of Python and C functions in all rounds, and the run."""
    count = 0
    done = []

    def note(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    def watch(progress):
        done.append(count)
        sys.setprofile(note if progress.round_id < NUM_ROUNDS else None)

    try:
        run_scenario(scenario, folder, watch=watch)
    finally:
        sys.setprofile(None)
    return done[-1], load_run(folder)


@pytest.mark.parametrize("way", WAYS)
def test_a_round_costs_no_more_calls_in_a_fifty_times_larger_population(way, tmp_path):
    few_calls, few = played(million(1_000, way), tmp_path / "few")
    many_calls, many = played(million(50_000, way), tmp_path / "many")
    assert len(few.clients) == 1_000
    assert len(many.clients) == 50_000
    for run in (few, many):
        assert NUM_DRAWN * NUM_ROUNDS / 3 < len(run.tasks) < 3 * NUM_DRAWN * NUM_ROUNDS
    per_task = [
        calls / len(run.tasks) for calls, run in ((few_calls, few), (many_calls, many))
    ]
    assert per_task[1] < 1.3 * per_task[0]


@pytest.mark.parametrize("way", ["uniform", "buffered"])
def test_the_trace_grows_with_what_happened_alone(way, tmp_path):
    rows = {}
    for num_clients in (1_000, 20_000):
        _, run = played(million(num_clients, way), tmp_path / str(num_clients))
        assert len(run.clients) == len(run.plans) == num_clients
        rows[num_clients] = sum(len(run.table(name)) for name in HAPPENED)
    assert rows[20_000] == pytest.approx(rows[1_000], rel=0.1)


def test_ten_thousand_upload_at_once_on_one_band(tmp_path):
    overrides = (
        "population.num_clients=10000",
        "server.sampling=full",
        "stop.rounds=1",
        "learning.compute=0 FLOP",
        "learning.download=0 B",
    )
    scenario = read_scenario(find_scenario("million"), overrides)
    run_scenario(scenario, tmp_path / "run")
    run = load_run(tmp_path / "run")
    assert run.bands.num_live.max() == 10_000
    assert set(run.transfers.status) == {"done"}
    assert len(run.segments) == 10_000  # per hertz, nobody's own terms change
    assert verify(tmp_path / "run") == []
