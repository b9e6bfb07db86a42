"""The Python interface takes what its pages say."""

import pytest
import yaml

import netsim
from netsim.cosim.reading import read_scenario
from netsim.cosim.shipped import find_scenario
from netsim.errors import InputError
from netsim.learner.learner import first_job
from tests.support import command
from tests.support.tiny_config import write_config

PLANNED = "tests.support.wrong_seams:HalfWeight"


def test_a_mapping_runs_as_its_file_does(tmp_path):
    path = find_scenario("network-only")
    mapping = yaml.safe_load(path.read_text())
    runs = [
        netsim.run(given, {"stop.rounds": 2}, "seed=3", out=tmp_path / str(number))
        for number, given in enumerate((mapping, path, "network-only"))
    ]
    assert [run.manifest.rounds for run in runs] == [2, 2, 2]
    assert len({run.manifest.network_digest for run in runs}) == 1
    assert len(netsim.joins.joined(runs[0], "tasks", "clients")) == len(runs[0].tasks)


def test_a_wrong_mapping_is_an_input_error():
    with pytest.raises(InputError, match="missing key 'learning'"):
        netsim.run({"name": "a"})


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        (
            "server.sampling={kind: uniform, num_drawn: 10000}",
            "server.sampling.num_drawn: must not exceed the ",
        ),
        (
            "server.sampling={kind: weighted, num_draws: 2, shares: [0.5, 0.5]}",
            "server.sampling.shares: lists 2 values for ",
        ),
    ],
)
def test_a_sampler_that_does_not_fit_the_population_is_refused(setting, told):
    with pytest.raises(InputError) as raised:
        read_scenario(find_scenario("network-only"), (setting,))
    assert told in str(raised.value)


@pytest.mark.parametrize(
    "ranks",
    ["{kind: fixed, rank: 16}", "{kind: tiered, tiers: [{device: pixel-8, rank: 9}]}"],
)
def test_a_rank_above_the_adapters_is_refused(ranks):
    overrides = ("population.devices=[{device: pixel-8}]", f"ranks={ranks}")
    with pytest.raises(InputError, match="ranks: rank must not exceed the adapter's 8"):
        read_scenario(find_scenario("quickstart"), overrides)


def test_a_plan_refuses_a_rule_without_known_round_times(capsys):
    setting = f"cell.uplink.sharing={PLANNED}"
    assert command.netsim("plan", "network-only", "--set", setting) == 2
    assert "no round times are known for the sharing rule 'mine'" in (
        capsys.readouterr().err
    )


@pytest.fixture
def model(tmp_path):
    """A folder with the configuration of a tiny Llama, without weights."""
    return write_config(tmp_path)


def bits(model, *overrides):
    size = f"learning.model={{model: {model}, sequence_length: 16}}"
    scenario = read_scenario(find_scenario("proxy"), (size, *overrides))
    learner = scenario.learning.known_learner(1, 0, may_count=True)
    return learner.bits_up(first_job(learner)), scenario.learning.lora


def test_a_proxy_counts_the_modules_that_lora_names(model):
    four = "target_modules: [q_proj, k_proj, v_proj, o_proj]"
    usual, lora = bits(model)
    assert lora.target_modules == ("q_proj", "v_proj")
    more, lora = bits(model, f"learning.lora={{r: 8, {four}}}")
    assert len(lora.target_modules) == 4
    named = f"learning.model={{model: {model}, sequence_length: 16, {four}}}"
    assert more == bits(model, named)[0]
    assert more > 1.5 * usual
