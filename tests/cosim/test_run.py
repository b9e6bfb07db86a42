"""Whole runs: the same bytes twice, in any process and folder."""

import json
import multiprocessing
import subprocess
import sys

import pytest

from netsim import load_run
from netsim.cosim.run import claim_folder, run_scenario
from netsim.cosim.workers import Workers
from netsim.errors import InputError
from netsim.verify import verify
from tests.support.servers import SERVERS, scenario

pytestmark = pytest.mark.slow

LEARNING = ("stop.rounds=2", "learning.training.local_steps=2")


ELSEWHERE = """
import json, sys
from pathlib import Path
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
folder = Path(sys.argv[1])
for server, overrides in json.loads(sys.argv[2]).items():
    config = read_scenario(find_scenario("quickstart"), tuple(overrides))
    print(run_scenario(config, folder / server, reuse=False).digest)
"""


@pytest.fixture(scope="module")
def digests_elsewhere(tmp_path_factory):
    """The digest by server of runs in another process and another folder, under
    another hash seed."""
    overrides = {server: (*LEARNING, *SERVERS[server]) for server in SERVERS}
    folder = tmp_path_factory.mktemp("elsewhere")
    command = [sys.executable, "-c", ELSEWHERE, str(folder), json.dumps(overrides)]
    finished = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=folder
    )
    return dict(zip(SERVERS, finished.stdout.split(), strict=True))


@pytest.mark.parametrize("server", SERVERS)
def test_a_run_is_the_same_in_another_process_and_sound(
    server, digests_elsewhere, tmp_path
):
    config = scenario("quickstart", *LEARNING, *SERVERS[server])
    manifest = run_scenario(config, tmp_path / "here", reuse=False)
    assert verify(tmp_path / "here") == []
    assert manifest.steps_trained > 0
    assert digests_elsewhere[server] == manifest.digest


@pytest.mark.parametrize("server", ["synchronous", "buffered"])
def test_two_workers_give_the_same_run(server, tmp_path):
    overrides = (*LEARNING, *SERVERS[server], "learning.cohort_size=3")
    config = scenario("quickstart", *overrides)
    one, two = (
        run_scenario(config, tmp_path / str(num), reuse=False, workers=Workers(num))
        for num in (1, 2)
    )
    assert one.digest == two.digest
    assert one.steps_trained == two.steps_trained > 0
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("server", SERVERS)
def test_another_seed_is_another_run(server, tmp_path):
    digests = {
        run_scenario(
            scenario("network-only", f"seed={seed}", "stop.rounds=4", *SERVERS[server]),
            tmp_path / str(seed),
        ).digest
        for seed in (1, 2, 3)
    }
    assert len(digests) == 3


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("radio", ["per-hertz", "fixed-power"])
@pytest.mark.parametrize("ceiling", [None, "700 kHz"])
def test_every_story_leaves_a_sound_trace(server, radio, ceiling, tmp_path):
    kinds = {
        "per-hertz": "{kind: per-hertz, reference_band: 1 MHz}",
        "fixed-power": "{kind: fixed-power, gap: 2 dB}",
    }
    overrides = [*SERVERS[server], f"cell.uplink.radio={kinds[radio]}"]
    if ceiling:
        overrides.append(f"population.radio_band={ceiling}")
    run_scenario(scenario("network-only", "stop.rounds=6", *overrides), tmp_path)
    assert verify(tmp_path) == []


def test_rounds_written_equal_what_the_manifest_says(tmp_path):
    manifest = run_scenario(scenario("network-only", "stop.time=20 s"), tmp_path)
    run = load_run(tmp_path)
    assert len(run.rounds) == manifest.rounds
    assert run.rounds.end_ns.iloc[-1] == manifest.sim_time_ns >= 20 * 10**9
    assert run.rounds.end_ns.iloc[-2] < 20 * 10**9


def test_a_target_ends_the_run_when_it_is_met(tmp_path):
    reachable = "stop={rounds: 9, target: {metric: accuracy, level: 0.1}}"
    manifest = run_scenario(
        scenario("quickstart", reachable, "learning.training.local_steps=1"), tmp_path
    )
    assert manifest.rounds == 1
    assert load_run(tmp_path).time_to("accuracy", 0.1).value == 0


@pytest.mark.parametrize(
    ("stop", "evaluated"),
    [
        ("{rounds: 5}", [0, 2, 4, 5]),
        ("{rounds: 5, target: {metric: accuracy, level: 0.1}}", [0, 2]),
        ("{rounds: 1, target: {metric: accuracy, level: 0.1}}", [0, 1]),
    ],
)
def test_evaluations_may_be_rare_and_a_target_is_met_at_one(stop, evaluated, tmp_path):
    overrides = (f"stop={stop}", "learning.training.local_steps=1")
    every = scenario("quickstart", *overrides, "learning.evaluation.every=2")
    manifest = run_scenario(every, tmp_path / "rare")
    run = load_run(tmp_path / "rare")
    assert run.evals.round_id.tolist() == evaluated
    assert manifest.rounds == evaluated[-1]
    assert manifest.final["accuracy"] == run.evals.accuracy.iloc[-1]
    why = "target" if "target" in stop else "rounds"
    assert run.events.detail.tolist() == [why]
    assert verify(tmp_path / "rare") == []


def test_rarer_evaluations_change_nothing_else_and_train_nothing(tmp_path):
    dense = run_scenario(scenario("quickstart", *LEARNING), tmp_path / "dense")
    overrides = (*LEARNING, "learning.evaluation.every=7")
    rare = run_scenario(scenario("quickstart", *overrides), tmp_path / "rare")
    assert rare.steps_trained == 0
    assert rare.final == dense.final
    assert rare.adapter_digest == dense.adapter_digest
    assert rare.network_digest == dense.network_digest
    assert rare.digest != dense.digest  # it has fewer evaluations


def test_resume_completes_what_was_killed_and_leaves_what_is_done(tmp_path):
    config = scenario("network-only", "stop.rounds=5")
    whole = run_scenario(config, tmp_path / "whole")
    broken = tmp_path / "broken"
    finished = run_scenario(config, broken)
    finished.model_copy(update={"status": "running"}).write(broken)
    (broken / "trace" / "tasks" / "part-00000.parquet").unlink()
    assert run_scenario(config, broken, resume=True).digest == whole.digest
    assert verify(broken) == []
    assert run_scenario(config, broken, resume=True).digest == whole.digest
    (broken / "trace" / "evals" / "part-00000.parquet").write_bytes(b"rotten")
    assert run_scenario(config, broken, resume=True).digest == whole.digest
    assert verify(broken) == []
    assert run_scenario(config, tmp_path / "new", resume=True).digest == whole.digest


def test_resume_refuses_another_scenarios_folder(tmp_path):
    run_scenario(scenario("network-only", "stop.rounds=2"), tmp_path)
    other = scenario("network-only", "stop.rounds=2", "seed=7")
    with pytest.raises(InputError, match="another scenario"):
        run_scenario(other, tmp_path, resume=True)


def test_a_claimed_folder_is_given_once(tmp_path):
    config = scenario("network-only", "stop.rounds=1")
    first = claim_folder(config, tmp_path)
    run_scenario(config, first)
    assert claim_folder(config, tmp_path).name == f"{first.name}-2"
    assert claim_folder(config, tmp_path).name == f"{first.name}-3"


def test_the_final_adapter_loads_with_peft(tmp_path):
    run_scenario(scenario("quickstart", *LEARNING), tmp_path)
    from peft import PeftModel
    from transformers import AutoModelForImageClassification

    base = AutoModelForImageClassification.from_pretrained(tmp_path / "adapter/base")
    model = PeftModel.from_pretrained(base, tmp_path / "adapter")
    assert model.peft_config["default"].r == 8


def test_what_other_cohorts_left_in_the_store_changes_no_digest(tmp_path, monkeypatch):
    monkeypatch.setattr("fl.memory.store.default_folder", lambda: tmp_path / "store")
    run_scenario(scenario("quickstart", *LEARNING), tmp_path / "wide")
    narrow = scenario("quickstart", *LEARNING, "learning.cohort_size=3")
    after = run_scenario(narrow, tmp_path / "after")
    alone = run_scenario(narrow, tmp_path / "alone", reuse=False)
    assert after.digest == alone.digest
