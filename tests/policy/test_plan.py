"""``netsim plan``: the table it writes, what it promises, and what it refuses."""

import json
from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq
import pytest

from fl.contract import Work
from netsim.cosim.plan_problem import Assumptions, build_problem
from netsim.cosim.reading import read_scenario
from netsim.cosim.shipped import find_scenario
from netsim.errors import InputError
from netsim.population import Population
from tests.support.command import netsim

NAMES = 11
DEADLINE = (
    "server={{kind: deadline, deadline: {}, announce_time: 10 ms, "
    "merge_time: 5 s, sampling: {{kind: independent, probability: 0.5}}}}"
)
BUFFERED = "server={kind: buffered, concurrency: 4, buffer_size: 2, merge_time: 0 s}"
UNICAST = (
    "cell.downlink={band: 10 MHz, mode: unicast, sharing: processor-sharing, "
    "radio: {kind: per-hertz, reference_band: 10 MHz}}"
)


@dataclass(frozen=True)
class Sketcher:
    """A learner of rank 8: payload, work and memory grow with the client's rank."""

    num_clients: int = 20
    rank: int = 8
    initial_version: str = "initial"

    @property
    def num_samples(self):
        return [1 + n % 3 for n in range(self.num_clients)]

    def memory_at(self, rank):
        return rank * 750_000_000  # 4 GB hold 5 ranks of 8

    def bits_down(self, job, have):
        return 10**6, 0

    def bits_up(self, job):
        return job.rank * 10**6

    def work(self, job):
        return Work(job.rank * 10**10)


def sketched(*overrides):
    """Return scenario, fleet and learner of a quickstart whose model is a fake."""
    scenario = read_scenario(find_scenario("quickstart"), overrides)
    learner = Sketcher()
    population = Population(
        scenario.population,
        scenario.network,
        seed=scenario.seed,
        num_samples=learner.num_samples,
    )
    return scenario, learner, population


@pytest.mark.slow
@pytest.mark.parametrize("sharing", ["processor-sharing", "equal-fixed"])
def test_a_plan_is_written_and_beats_uniform(tmp_path, capsys, sharing):
    rule = f"cell.uplink.sharing={sharing}"
    assert (
        netsim("plan", "network-only", "--set", rule, "--out", tmp_path / "p", "--json")
        == 0
    )
    output = capsys.readouterr().out
    found = json.loads(output.splitlines()[-1])
    assert len(found["plans"]) == NAMES
    assert found["plans"]["uniform q"]["of_uniform"] == 1
    assert found["plans"]["joint"]["of_uniform"] < 1.01
    lines = [line for line in output.splitlines()[:-1] if line]
    assert "constants: {ratio: 0.05, nu: 1}" in output
    advice = found["advice"]
    assert "".join(lines).replace(" ", "").endswith(advice.replace(" ", ""))
    written = advice.split("`")[1]
    assert written.startswith("policy: {kind: adaptive, decides: [sampling], constants")
    sampling = "server={kind: synchronous, announce_time: 10 ms, merge_time: 20 ms}"
    pasted = read_scenario(
        find_scenario("network-only"), (written.replace(": ", "=", 1), sampling)
    )
    assert pasted.policy.constants.ratio == 0.05
    assert "assumed, for want of pilots" in output
    table = pq.read_table(tmp_path / "p" / "plan.parquet").to_pydict()
    assert table["client_id"] == list(range(20))
    assert all(0 < q <= 1 for q in table["sampling_probability"])
    assert set(table["limited_by"]) <= {"compute", "uplink", "memory"}


def test_the_weight_limit_holds(tmp_path):
    args = ("--max-weight", "0.1", "--out", tmp_path)
    assert netsim("plan", "network-only", *args) == 0
    table = pq.read_table(tmp_path / "plan.parquet").to_pydict()
    pairs = zip(table["weight"], table["sampling_probability"], strict=True)
    assert max(a / q for a, q in pairs) <= 0.1 + 1e-12


def test_a_ratio_without_rounds_is_refused(capsys):
    assert netsim("plan", "network-only", "--ratio", "-1") == 2
    assert "--ratio must exceed -0.05" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("num_clients", [20, 1000])
def test_everything_but_paths_fits_into_80_columns(tmp_path, capsys, num_clients):
    size = f"population.num_clients={num_clients}"
    assert netsim("plan", "network-only", "--set", size, "--out", tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    paths = "picture ", f"plan    {tmp_path}"
    own = [line for line in lines if not line.startswith(paths)]
    shown = [line.split()[0] for line in lines if line.startswith(paths)]
    assert shown == ["picture", "plan"]
    assert max(map(len, own)) <= 80
    names = [line[:21].strip() for line in lines[2 : 2 + NAMES]]
    assert names[0] == "full participation"
    assert "uniform q, adaptive k" in names  # whole, not cut off


def test_the_picture_shows_clients_and_plans(tmp_path):
    pytest.importorskip("altair")
    pytest.importorskip("vl_convert")
    assert netsim("plan", "network-only", "--out", tmp_path) == 0
    picture = (tmp_path / "plan.svg").read_text()
    assert "joint, equal sharing" in picture
    assert picture.count('aria-roledescription="circle"') == 20


def test_a_buffered_server_has_no_rounds_to_plan(capsys):
    rule = ("--set", BUFFERED, "--set", UNICAST)
    assert netsim("plan", "network-only", *rule) == 2
    error = capsys.readouterr().err
    assert "server: a 'buffered' server has no rounds that start together" in error
    assert "use 'synchronous' or 'deadline'" in error


def test_a_deadline_that_somebody_always_misses_is_refused(capsys, tmp_path):
    rule = DEADLINE.format("1.5 s")
    assert netsim("plan", "network-only", "--set", rule, "--out", tmp_path) == 2
    error = capsys.readouterr().err
    assert "server.deadline: " in error
    assert "of 20 clients have no rank" in error
    assert "even alone on the band" in error


def test_a_deadline_leaves_the_ranks_that_meet_it_alone_on_the_band():
    """Announcement, broadcast to the weakest, compute and upload count; the merge,
    which follows the deadline, does not. Memory binds beside it."""
    scenario, learner, population = sketched(DEADLINE.format("2 s"))
    problem, fits = build_problem(scenario, learner, population, Assumptions())
    assert problem.ranks == tuple(range(1, 9))
    up, down = scenario.cell.uplink, scenario.cell.downlink
    broadcast_s = max(
        10**6
        / down.radio.rate_bps(
            population.radio_map.effective_cn0_hz(n, "down"), down.band_hz
        )
        for n in range(20)
    )
    for n in range(20):
        rate_bps = up.radio.rate_bps(
            population.radio_map.effective_cn0_hz(n, "up"), up.band_hz
        )
        for rank in problem.ranks:
            compute_s = population.fleet.expected_compute_s(n, Work(rank * 10**10))
            alone_s = 0.01 + broadcast_s + compute_s + rank * 10**6 / rate_bps
            memory_bytes = population.fleet.device(n).memory_bytes
            assert fits[n, rank - 1] == (rank * 750_000_000 <= memory_bytes)
            assert problem.is_allowed[n, rank - 1] == (
                fits[n, rank - 1] and alone_s <= 2.0
            )
    assert fits.all(axis=1).any()
    assert not fits.all()
    assert (fits & ~problem.is_allowed).any()
    assert problem.fixed_s == pytest.approx(0.01 + broadcast_s + 5)
    without, _ = build_problem(*sketched(), Assumptions())
    assert (without.is_allowed == fits).all()


def test_a_deadline_that_allows_no_rank_names_the_slowest():
    scenario, learner, population = sketched(DEADLINE.format("100 ms"))
    with pytest.raises(InputError, match=r"client \d+ needs [\d.]+ s even alone"):
        build_problem(scenario, learner, population, Assumptions())


@pytest.mark.parametrize(
    "radio", ["{kind: per-hertz, reference_band: 2 MHz, gap: 3 dB}", "fixed-power"]
)
@pytest.mark.parametrize("fading", ["none", "{kind: rayleigh, coherence_time: 50 ms}"])
def test_arrays_say_what_one_client_at_a_time_says(radio, fading):
    spread = "population.speed_spread={kind: log-normal, sigma: 0.5}"
    rules = (f"cell.uplink.radio={radio}", f"cell.fading={fading}", spread)
    scenario, _, population = sketched(*rules)
    ids, cell = range(len(population)), scenario.cell
    for direction, band in (("up", cell.uplink), ("down", cell.downlink)):
        cn0s_hz = [population.radio_map.effective_cn0_hz(n, direction) for n in ids]
        rates = [band.radio.rate_bps(cn0_hz, band.band_hz) for cn0_hz in cn0s_hz]
        found_hz = population.radio_map.effective_cn0s_hz(direction)
        assert found_hz == pytest.approx(cn0s_hz, rel=1e-12)
        assert population.radio_map.full_band_rates_bps(direction) == pytest.approx(
            rates, rel=1e-12
        )
    works = [Work(10**9), Work(10**9, 10**8, 500, 2)]
    one_s = [[population.fleet.expected_compute_s(n, w) for w in works] for n in ids]
    assert (population.fleet.expected_computes_s(works) == np.array(one_s)).all()
    devices = [population.fleet.device(n) for n in ids]
    assert population.fleet.device_names().tolist() == [one.name for one in devices]
    memories = np.array([one.memory_bytes for one in devices])
    assert (population.fleet.memories_bytes() == memories).all()
