"""Public testbeds, simulated: bytes as logged, steps of rows that were not fitted.

EdgeFlowerTune, arXiv 2605.08636.
"""

import pytest

from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import TESTBEDS, find_scenario, names
from netsim.devices.observations import read_observations
from netsim.learner.learner import first_job

pytestmark = pytest.mark.slow  # a model of 18 layers is counted

HEADER_BYTES = 80  # of each tensor in a phone's upload
NUM_TENSORS = 144


def learner_of(name, *overrides):
    scenario = read_scenario(find_scenario(name), overrides)
    return scenario, scenario.learning.learner(3, 1, reuse=False)


@pytest.mark.parametrize("name", names(TESTBEDS))
def test_every_testbed_is_shipped_by_name(name):
    assert read_scenario(find_scenario(name)).name == name


def test_boards_upload_the_logged_bytes():
    _, learner = learner_of("edgeflower-boards")
    assert learner.bits_up(first_job(learner)) == 8 * 2_949_120


@pytest.mark.parametrize(
    ("rank", "logged"), [(4, 1_486_080), (8, 2_960_640), (16, 5_909_760)]
)
def test_phones_upload_the_logged_bytes_less_a_header_per_tensor(rank, logged):
    _, learner = learner_of("edgeflower-phones", f"learning.lora.r={rank}")
    num_bytes = learner.bits_up(first_job(learner)) // 8
    assert num_bytes + NUM_TENSORS * HEADER_BYTES == logged


@pytest.mark.parametrize(
    ("name", "group", "most"),
    [("edgeflower-boards", "jetson-nano", 0.15), ("edgeflower-phones", "sd778g", 0.05)],
)
def test_steps_of_the_other_data_set_are_as_logged(name, group, most):
    """The devices are fitted to WikiText's rows; those of MMLU have no FLOP."""
    held_out = [
        one.step_s
        for one in read_observations()
        if one.group == group and one.flop is None and "Gemma" in one.setting
    ]
    scenario, learner = learner_of(name)
    work = learner.work(first_job(learner))
    step_s = scenario.population.devices[0].device.compute_time_s(work) / work.steps
    assert step_s == pytest.approx(sum(held_out) / len(held_out), rel=most)


@pytest.mark.parametrize(
    ("name", "least_s", "most_s"),
    [("edgeflower-boards", 114, 142), ("edgeflower-phones", 1_702, 1_744 * 1.02)],
)
def test_rounds_take_what_was_logged(tmp_path, name, least_s, most_s):
    scenario = read_scenario(find_scenario(name), ("stop.rounds=2",))
    manifest = run_scenario(scenario, tmp_path / "run")
    assert least_s < manifest.sim_time_ns / 2e9 < most_s
    assert manifest.seconds.startswith("measured, within a factor")
