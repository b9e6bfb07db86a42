"""Every shipped scenario says what it shows, and its small form runs and is sound."""

import pytest

from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import FOLDER, names
from netsim.scenario.loader import dump
from netsim.verify import verify

ROUNDS = "stop={rounds: 2}"
SMALL = {  # beyond fewer rounds; later ones win
    "adaptive": (
        "stop={rounds: 1}",
        "policy.pilots=[{probability: 0.5, rounds: 1}, {probability: 1.0, rounds: 1}, "
        "{probability: 0.5, rank: 4, rounds: 1}]",
        "learning.training.local_steps=1",
    ),
    "arithmetic": (  # few of everything: it pre-trains its own base
        "stop={rounds: 1}",
        "population.num_clients=2",
        "learning.task.num_users=2",
        "learning.backbone.pretraining.steps=2",
        "learning.training.local_steps=1",
        "learning.evaluation.every=9",
    ),
    "eight-billion": ("learning.training.local_steps=1",),
    "million": ("population.num_clients=5000", "server.sampling.num_drawn=50"),
    "proxy": ("population.num_clients=3000", "server.sampling.probability=0.02"),
    "wide-fleet-200": (
        "population.num_clients=8",
        "learning.task.num_samples=200",
        "learning.backbone.pretraining.steps=2",
        "learning.training.local_steps=1",
    ),
    "quickstart": ("learning.training.local_steps=1",),
}


def comments(name):
    """Return the comment that a scenario begins with."""
    lines = (FOLDER / f"{name}.yaml").read_text().splitlines()
    first = next(n for n, line in enumerate(lines) if not line.startswith("#"))
    return [line for line in lines[:first] if "$schema" not in line]


@pytest.mark.parametrize("name", names())
def test_a_scenario_says_what_it_shows(name):
    assert 1 <= len(comments(name)) <= 4
    assert all(len(line) <= 120 for line in comments(name))
    assert (FOLDER / f"{name}.yaml").read_text().startswith("# yaml-language-server")
    read_scenario(FOLDER / f"{name}.yaml")


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_the_small_form_runs_and_is_sound(name, tmp_path):
    overrides = (ROUNDS, *SMALL.get(name, ()))
    scenario = read_scenario(FOLDER / f"{name}.yaml", overrides)
    manifest = run_scenario(scenario, tmp_path / "run")
    assert manifest.status == "complete"
    assert manifest.rounds >= 1
    assert verify(tmp_path / "run") == []


def test_small_forms_are_of_shipped_scenarios():
    assert set(SMALL) <= set(names())


@pytest.mark.parametrize("name", names())
def test_a_scenario_written_out_in_full_is_the_same(name, tmp_path):
    scenario = read_scenario(FOLDER / f"{name}.yaml")
    path = tmp_path / "scenario.yaml"
    path.write_text(dump(scenario))
    assert read_scenario(path) == scenario
