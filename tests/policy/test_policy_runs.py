"""Policies over real learning, and what a scenario may not say of them."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from netsim import load_run
from netsim.cli.live import LiveView
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
from netsim.cosim.workers import Workers
from netsim.errors import InputError
from netsim.learner.stop import Stop
from netsim.policy.noise_scale import RATIO_RANGE, STEP_RANGE
from netsim.server.phase import Phase
from netsim.server.policies.planned import read_plan
from netsim.server.stage import Progress
from netsim.verify import verify
from tests.support.command import netsim

pytestmark = pytest.mark.slow

PILOTS = (
    "[{probability: 0.6, rounds: 4}, {probability: 1.0, rounds: 3}, "
    "{probability: 0.7, rank: 4, rounds: 4}]"
)
SHORT = (
    f"policy.pilots={PILOTS}",
    "policy.resolve_every=2",
    "stop.rounds=3",
    "population.num_clients=5",
    "learning.training.local_steps=3",
)
NO_SAMPLING = "server={kind: synchronous, announce_time: 10 ms, merge_time: 20 ms}"


def scenario(*overrides, name="adaptive"):
    return read_scenario(find_scenario(name), overrides)


def test_an_adaptive_run_is_sound_and_the_same_again_without_torch(own_store, tmp_path):
    manifest = run_scenario(scenario(*SHORT), tmp_path / "run")
    assert verify(tmp_path / "run") == []
    run = load_run(tmp_path / "run")
    pilots = run.rounds[run.rounds.phase == "pilot"]
    assert (manifest.pilot_rounds, manifest.rounds) == (len(pilots), 14) == (11, 14)
    assert manifest.pilot_time_ns == pilots.end_ns.max() < manifest.sim_time_ns
    assert set(run.plans.round_id) == {0, 5, 8, 12, 14}
    errors = {"round_error_s", "time_error_s"}
    assert manifest.predicted.keys() - errors == {"rounds", "round_s", "time_s", "loss"}
    start, charged = run.time_to("accuracy", 0.0), manifest.pilot_time_ns
    assert start.value == charged
    assert run.time_to("accuracy", 0.0, with_pilots=False).value == 0
    code = (
        "import sys, json\n"
        "from pathlib import Path\n"
        "import fl.memory.store\n"
        "fl.memory.store.default_folder = lambda: Path(sys.argv[1])\n"
        "from netsim.cosim.run import run_scenario\n"
        "from netsim.cosim.reading import read_scenario\n"
        "from netsim.cosim.shipped import find_scenario\n"
        "config = read_scenario(find_scenario('adaptive'), tuple(sys.argv[3:]))\n"
        "done = run_scenario(config, Path(sys.argv[2]))\n"
        "print(json.dumps([done.digest, done.steps_trained, 'torch' in sys.modules]))\n"
    )
    again = subprocess.run(
        [sys.executable, "-c", code, own_store, tmp_path / "again", *SHORT],
        check=True,
        capture_output=True,
        text=True,
    )
    assert json.loads(again.stdout.splitlines()[-1]) == [manifest.digest, 0, False]


def test_a_half_forgotten_run_resumes_to_the_same_digest(own_store, tmp_path):
    whole = run_scenario(scenario(*SHORT), tmp_path / "whole")
    for path in sorted(own_store.glob("??/*"))[::2]:
        path.unlink()
    folder = tmp_path / "killed"
    finished = run_scenario(scenario(*SHORT), folder)
    finished.model_copy(update={"status": "running"}).write(folder)
    (folder / "trace" / "estimates" / "part-00000.parquet").unlink()
    fresh = run_scenario(scenario(*SHORT), folder, resume=True, reuse=False)
    assert fresh.digest == whole.digest
    assert fresh.steps_reused == 0


def test_a_damaged_estimate_is_found(own_store, tmp_path):
    run_scenario(scenario(*SHORT), tmp_path / "run")
    path = tmp_path / "run" / "trace" / "estimates" / "part-00000.parquet"
    table = pq.read_table(path)
    values = table["value"].to_pylist()
    column = pa.array([float("nan"), *values[1:]])
    pq.write_table(table.set_column(4, table.schema.field("value"), column), path)
    rules = {finding.rule for finding in verify(tmp_path / "run")}
    assert "a value must be a finite number" in rules
    assert "a digest must match the manifest" in rules


def plan_file(folder, **columns):
    """Write a plan of twenty clients, some columns changed."""
    plan = {
        "client_id": list(range(20)),
        "sampling_probability": [0.5] * 20,
        "rank": [4] * 20,
    }
    path = folder / "mine.parquet"
    pq.write_table(pa.table({k: v for k, v in (plan | columns).items() if v}), path)
    return path


def planned(path, *overrides):
    policy = f"policy={{kind: planned, path: {path}}}"
    learning = ("learning.training.local_steps=1", "stop.rounds=2")
    return scenario(policy, NO_SAMPLING, *learning, *overrides, name="quickstart")


def test_a_run_follows_the_plan_that_netsim_plan_wrote(tmp_path):
    assert netsim("plan", "quickstart", "--out", tmp_path / "plan", "--json") == 0
    path = tmp_path / "plan" / "plan.parquet"
    run_scenario(planned(path), tmp_path / "run")
    assert verify(tmp_path / "run") == []
    plan, run = pq.read_table(path).to_pandas(), load_run(tmp_path / "run")
    assert (run.plans.sampling_probability == plan.sampling_probability).all()
    assert (run.plans["rank"] == plan["rank"]).all()
    tasks = run.tasks.merge(plan, on="client_id")
    assert (tasks.rank_x == tasks.rank_y).all()
    weights = tasks.weight_y / tasks.sampling_probability
    assert np.allclose(tasks.weight_x, weights)


WRONG_PLANS = {
    "lacks the column 'rank'; `netsim plan` writes it": {"rank": None},
    "plans for 19 clients, the scenario has 20": {
        "client_id": list(range(19)),
        "sampling_probability": [0.5] * 19,
        "rank": [4] * 19,
    },
    "client_id must be 0 to 19, each once": {"client_id": [0, *range(19)]},
    "sampling_probability of client 3 must lie above 0, up to 1, got 0.0": {
        "sampling_probability": [0.5] * 3 + [0.0] * 17
    },
    "sampling_probability of client 0 must lie above 0, up to 1, got True": {
        "sampling_probability": [True] * 20
    },
    "rank of client 0 must be whole: 4.0": {"rank": [4.0] * 20},
    "rank of client 0 must be whole: True": {"rank": [True] * 20},
    "rank of client 0 must lie in 1 to the adapter's 8, got 9": {"rank": [9] * 20},
}


@pytest.mark.parametrize("message", WRONG_PLANS)
def test_a_plan_that_does_not_fit_is_refused(message, tmp_path):
    path = plan_file(tmp_path, **WRONG_PLANS[message])
    with pytest.raises(InputError) as refused:
        run_scenario(planned(path), tmp_path / "run")
    assert str(refused.value) == f"policy.path: {path} {message}"


def test_a_plan_with_a_column_twice_is_refused(tmp_path):
    names = ["client_id", "rank", "rank", "sampling_probability"]
    columns = [list(range(20)), [4] * 20, [4] * 20, [0.5] * 20]
    path = tmp_path / "twice.parquet"
    pq.write_table(pa.table([pa.array(column) for column in columns], names), path)
    with pytest.raises(InputError, match="has 2 columns 'rank'"):
        read_plan(path, 20)


def test_whole_probabilities_of_one_are_fine(tmp_path):
    path = plan_file(tmp_path, sampling_probability=[1] * 20)
    assert read_plan(path, 20).probabilities.tolist() == [1.0] * 20


def test_a_plan_lies_beside_its_scenario(tmp_path):
    plan_file(tmp_path)
    copied = shutil.copy(find_scenario("quickstart"), tmp_path)
    overrides = (NO_SAMPLING, "policy={kind: planned, path: mine.parquet}")
    policy = read_scenario(Path(copied), overrides).policy
    assert policy.path == str(tmp_path / "mine.parquet")


def test_a_run_does_not_go_on_with_another_plan(tmp_path):
    path = plan_file(tmp_path)
    recorded = run_scenario(planned(path), tmp_path / "run")
    plan_file(tmp_path, sampling_probability=[1.0] * 20)
    with pytest.raises(InputError, match=r"mine\.parquet is no longer what it was"):
        run_scenario(planned(path, "stop.rounds=3"), tmp_path / "run", resume=True)
    assert load_run(tmp_path / "run").manifest == recorded
    assert verify(tmp_path / "run") == []
    plan_file(tmp_path)
    longer = run_scenario(planned(path, "stop.rounds=3"), tmp_path / "run", resume=True)
    assert longer.rounds == 3


def test_a_run_that_ended_among_its_pilots_goes_on(own_store, tmp_path):
    run_scenario(scenario(*SHORT, "stop={time: 1 ms}"), tmp_path / "run")
    assert set(load_run(tmp_path / "run").rounds.phase) == {"pilot"}
    longer = scenario(*SHORT, "stop={rounds: 1}")
    run_scenario(longer, tmp_path / "run", resume=True)
    assert set(load_run(tmp_path / "run").rounds.phase) == {"pilot", "train"}


def test_a_plan_beyond_memory_or_none_at_all_is_refused(tmp_path):
    config = scenario(name="quickstart")
    learner = config.learning.known_learner(20, config.seed, may_count=True)
    memory = (learner.memory_at(5) + learner.memory_at(6)) // 2
    small = (
        "population.devices=[{device: {name: small, peak: 1 GFLOP/s, efficiency: 1, "
        f"memory: {memory} B, compute_power: 1 W, idle_power: 1 W}}}}]"
    )
    fits = run_scenario(planned(plan_file(tmp_path), small), tmp_path / "fits")
    assert fits.status == "complete"
    with pytest.raises(InputError, match=r"client 0 must not exceed 5, which its mem"):
        run_scenario(planned(plan_file(tmp_path, rank=[8] * 20), small), tmp_path / "a")
    with pytest.raises(InputError, match=r"policy\.path: .*nowhere cannot be read"):
        run_scenario(planned("nowhere"), tmp_path / "b")


PLAIN = "policy={kind: adaptive, constants: {ratio: 1, nu: 1}}"
REFUSED = {
    "server.sampling: the policy decides who is drawn": ("quickstart", (PLAIN,)),
    "ranks: the policy decides ranks": (
        "quickstart",
        (PLAIN, NO_SAMPLING, "ranks={kind: fixed, rank: 4}"),
    ),
    "server: missing key 'sampling'": ("quickstart", (NO_SAMPLING,)),
    "'sampling': the policy decides ranks alone": (
        "quickstart",
        (f"{PLAIN[:-1]}, decides: [ranks]}}", NO_SAMPLING),
    ),
    "policy: pilots and ranks need learning": ("network-only", (PLAIN, NO_SAMPLING)),
    "policy: a sketch needs plain LoRA": (
        "quickstart",
        (PLAIN, NO_SAMPLING, "learning.lora={use_dora: true}"),
    ),
    "policy: a 'buffered' server draws among the idle": (
        "network-only",
        (
            PLAIN,
            "server={kind: buffered, concurrency: 6, buffer_size: 3, merge_time: 0 s}",
            "cell.downlink.mode=unicast",
            "cell.downlink.sharing=processor-sharing",
        ),
    ),
    "system needs no pilots": (
        "adaptive",
        (
            "policy={kind: proportional, to: system, num_expected: 3, "
            "pilots: [{probability: 1, rounds: 1}]}",
        ),
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_two_parts_decide_or_none_is_refused(message):
    name, overrides = REFUSED[message]
    with pytest.raises(InputError) as refused:
        scenario(*overrides, name=name)
    assert message in str(refused.value)


def test_check_refuses_what_a_run_would(tmp_path, capsys):
    policy = f"policy={{kind: planned, path: {tmp_path}/none}}"
    args = ("--set", policy, "--set", NO_SAMPLING)
    assert netsim("check", "network-only", *args) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_a_plan_reads_the_policys_constants_and_flags_win(tmp_path, capsys):
    policy = "{kind: adaptive, decides: [sampling], max_weight: 0.2, "
    policy += "constants: {ratio: 0.25}}"
    args = ("--set", f"policy={policy}", "--set", NO_SAMPLING, "--json")
    assert netsim("plan", "network-only", *args, "--out", tmp_path) == 0
    output = capsys.readouterr().out
    assert json.loads(output.splitlines()[-1])["ratio"] == 0.25
    plan = pq.read_table(tmp_path / "plan.parquet").to_pandas()
    assert (plan.weight / plan.sampling_probability).max() <= 0.2 + 1e-12
    flags = ("--ratio", "0.5", "--nu", "2", "--out", tmp_path)
    assert netsim("plan", "network-only", *args, *flags) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (found["ratio"], found["nu"]) == (0.5, 2)


def test_given_constants_run_without_learning(tmp_path):
    policy = "policy={kind: adaptive, decides: [sampling], constants: {ratio: 0.25}}"
    config = scenario(policy, NO_SAMPLING, "stop.rounds=3", name="network-only")
    manifest = run_scenario(config, tmp_path)
    assert verify(tmp_path) == []
    assert manifest.pilot_time_ns == 0
    assert manifest.predicted.keys() == {"round_s", "round_error_s"}


def test_a_person_sees_pilots_and_what_the_plan_promised(own_store, tmp_path, capsys):
    sets = [part for override in SHORT for part in ("--set", override)]
    assert netsim("run", "adaptive", *sets, "--out", tmp_path / "run", "--json") == 0
    output = capsys.readouterr().out
    manifest = load_run(tmp_path / "run").manifest
    assert "pilots took 11 of the rounds, " in output
    assert "…" not in output  # in 80 columns every figure is whole
    ratio, nu = (manifest.constants[name] for name in ("ratio", "nu"))
    assert f"constants: {{nu: {nu:.3g}, ratio: {ratio:.3g}}}" in " ".join(
        output.split()
    )
    promised = f"{manifest.predicted['rounds']:.4g} rounds to loss "
    assert f"the first plan promised {promised}" in output
    found = json.loads(output.splitlines()[-1])
    assert found["pilot_time_ns"] == manifest.pilot_time_ns


SYSTEM = "policy={kind: proportional, to: system, num_expected: 21}"
UNFIT = {
    r"policy\.num_expected: the expected number .* to 20, got 21\.0": (SYSTEM,),
    r"policy\.max_weight must be at least the largest data weight, 0\.05:": (
        "policy={kind: proportional, to: system, num_expected: 3, max_weight: 0.01}",
    ),
    r"policy\.to: system needs work or uploads that take time": (
        SYSTEM,
        "learning={kind: none, download: 0 B, upload: 0 B, compute: 0 FLOP}",
    ),
}


@pytest.mark.parametrize("message", UNFIT)
def test_a_policy_that_the_fleet_does_not_suit_is_refused_by_its_path(
    message, tmp_path
):
    unfit = scenario(*UNFIT[message], NO_SAMPLING, name="network-only")
    with pytest.raises(InputError, match=message):
        run_scenario(unfit, tmp_path / "run")


def test_the_live_line_counts_rounds_within_their_phase():
    pilot = Phase(kind="pilot", after_round_id=4, num_rounds=3)
    view = LiveView(Console(), Stop(rounds=10), "x", is_quiet=True)
    view(Progress(6, 0, phase=pilot))
    assert view.line(0.0).startswith("pilot round 2/3")
    view(Progress(12, 0, phase=Phase(after_round_id=7)))
    assert view.line(0.0).startswith("round 5/10")


def test_a_check_reads_the_plan_though_nothing_is_counted(tmp_path, monkeypatch):
    path = plan_file(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    words = ("check", "quickstart", "--set", NO_SAMPLING, "--set")
    assert netsim(*words, f"policy={{kind: planned, path: {path}}}") == 0
    path.write_bytes(b"no plan")
    assert netsim(*words, f"policy={{kind: planned, path: {path}}}") == 2


def test_without_pilots_the_rounds_that_train_tell_the_constants(own_store, tmp_path):
    stop = "stop={rounds: 13, target: {level: 0.99}}"
    policy = "policy={kind: adaptive, tuned_at: 0.5}"
    sets = (policy, stop, *SHORT[3:])
    manifest = run_scenario(scenario(*sets), tmp_path / "run")
    assert verify(tmp_path / "run") == []
    run = load_run(tmp_path / "run")
    assert (manifest.pilot_rounds, manifest.rounds) == (0, 13)
    known = run.estimates[run.estimates.client_id.isna()]
    ratio = known[known.name == "ratio"]
    assert ratio.round_id.tolist() == [4, 7, 10, 13]
    assert ratio.value.between(*RATIO_RANGE).all()
    assert (ratio.standard_error > 0).all()
    assert manifest.constants["ratio"] == ratio.value.iloc[-1]
    step = known[known.name == "step"]
    assert step.value.between(*STEP_RANGE).all()
    assert manifest.constants["step"] == step.value.iloc[-1]
    plan = run.plans[run.plans.round_id == 0].set_index("client_id")
    first = run.tasks[run.tasks.round_id == 1].set_index("client_id")
    weights = plan.loc[first.index, "sampling_probability"]
    data = run.clients.set_index("client_id").weight.loc[first.index]
    assert (first.weight * weights / data).tolist() == pytest.approx(
        [step.value.iloc[0]] * len(first)
    )
    expected = known[known.name == "target_time_s"]
    assert expected.round_id.tolist() == [10, 13]  # of eight scores and more
    assert (expected.value * 1e9 > expected.time_ns).all()
    assert (expected.standard_error > 0).all()
    assert not set(known.name) & {"plan_rounds", "plan_time_s", "alpha", "beta"}
    tried = run.plans[run.plans.round_id.isin([0, *range(2, 9)])]
    assert set(tried["rank"]) == {4, 8}  # half of the clients, each round anew
    plans = run.plans.pivot(
        index="round_id", columns="client_id", values="sampling_probability"
    )
    steps = plans.to_numpy()[1:] / plans.to_numpy()[:-1]
    assert (steps >= 0.5 - 1e-12).all()
    assert (steps <= 2 + 1e-12).all()
    assert len(np.unique(plans.loc[[0, 4, 7, 10, 13]].to_numpy(), axis=0)) > 2
    _kill_at_round(8, own_store, tmp_path / "killed", sets)
    torn = load_run(tmp_path / "killed").manifest
    assert torn.status == "running"
    resumed = run_scenario(
        scenario(*sets), tmp_path / "killed", resume=True, workers=Workers(2)
    )
    assert resumed.digest == manifest.digest
    assert resumed.constants == manifest.constants


def _kill_at_round(round_id, store, folder, sets):
    """Run a scenario in another process, which ends in the middle by SIGKILL, and
    forget what half of its learning left in the store."""
    for path in sorted(store.glob("??/*"))[::2]:
        path.unlink()
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "import fl.memory.store\n"
        "fl.memory.store.default_folder = lambda: Path(sys.argv[1])\n"
        "from netsim.cosim.run import run_scenario\n"
        "from netsim.cosim.reading import read_scenario\n"
        "from netsim.cosim.shipped import find_scenario\n"
        "def watch(progress):\n"
        "    if progress.round_id == int(sys.argv[3]):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "config = read_scenario(find_scenario('adaptive'), tuple(sys.argv[4:]))\n"
        "run_scenario(config, Path(sys.argv[2]), watch=watch)\n"
    )
    words = [sys.executable, "-c", code, store, folder, str(round_id), *sets]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
