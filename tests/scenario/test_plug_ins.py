"""A user's own class that answers wrongly, or raises, is named in one line."""

import pytest

from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
from netsim.errors import InputError
from netsim.scenario.plug_ins import failure
from tests.support.command import netsim

SYNCHRONOUS = "{{kind: '{}', sampling: full, announce_time: 0 s, merge_time: 0 s}}"
NETWORK = {
    "NanGain": ("cell.fading={}", "gain"),
    "ChangesNow": ("cell.fading={}", "gain"),
    "FloatTick": ("cell.fading={}", "gain"),
    "NoPair": ("cell.fading={}", "gain"),
    "NanDelay": ("cell.uplink.jitter={{kind: '{}', mean: 1 ms}}", "delay_s"),
    "NoSpeed": ("population.speed_spread={}", "factor"),
    "StandsStill": ("population.availability={}", "intervals"),
    "Twice": ("server.sampling={}", "draw"),
    "NanWeight": ("server.sampling={}", "draw"),
    "Unsorted": ("server.sampling={}", "draw"),
    "NoSuchClient": ("server.sampling={}", "draw"),
    "HalfWeight": ("cell.uplink.sharing={}", "divide"),
    "FloatBits": (
        "learning={{kind: '{}', download: 1 kbit, upload: 1 kbit, compute: 1 GFLOP}}",
        "bits_up",
    ),
}
LEARNING = {
    "HighRank": ("ranks={}", "rank"),
    "NoDigest": ("learning.task={}", "digest"),
    "SampleTwice": ("learning.partition={}", "split"),
    "Transposed": ("learning.aggregation={}", "merge"),
    "LayerMissing": ("learning.aggregation={}", "merge"),
    "OtherDtype": ("learning.aggregation={}", "merge_layer"),
}
RAISES = {
    "DivideRaises": ("network-only", "cell.uplink.sharing={}", "ZeroDivisionError"),
    "DrawRaises": ("network-only", "server.sampling={}", "IndexError"),
    "MergeRaises": ("quickstart", "learning.aggregation={}", "RuntimeError"),
    "FloatPause": ("network-only", f"server={SYNCHRONOUS}", "ValueError"),
}
SHORT = {
    "network-only": ("stop.rounds=1",),
    "quickstart": ("stop.rounds=1", "learning.training.local_steps=1"),
}


def run(scenario, setting, name, folder):
    kind = f"tests.support.wrong_seams:{name}"
    overrides = (*SHORT[scenario], setting.format(kind))
    run_scenario(read_scenario(find_scenario(scenario), overrides), folder)


@pytest.mark.parametrize("name", [*NETWORK, *LEARNING])
def test_a_wrong_answer_names_module_class_and_method(name, tmp_path):
    setting, method = {**NETWORK, **LEARNING}[name]
    scenario = "network-only" if name in NETWORK else "quickstart"
    with pytest.raises(InputError) as raised:
        run(scenario, setting, name, tmp_path / "run")
    message = str(raised.value)
    asked = "HalfBits" if name == "FloatBits" else name
    expected = f"tests.support.wrong_seams:{asked}.{method} must return "
    assert expected in message
    assert "\n" not in message


@pytest.mark.parametrize("name", RAISES)
def test_an_exception_names_module_class_and_method(name, tmp_path):
    scenario, setting, kind = RAISES[name]
    with pytest.raises(Exception) as raised:  # noqa: PT011
        run(scenario, setting, name, tmp_path / "run")
    message = failure(raised.value)
    assert message.startswith(f"tests.support.wrong_seams:{name}.")
    assert f"raised {kind}: " in message
    assert "\n" not in message


def test_an_error_of_ours_is_not_a_users():
    assert failure(RuntimeError("ours")) is None


def test_the_command_ends_with_2_and_one_line(tmp_path, capsys):
    kind = "tests.support.wrong_seams:DivideRaises"
    rule, folder = f"cell.uplink.sharing={kind}", tmp_path / "run"
    code = netsim("run", "network-only", "--quiet", "--set", rule, "--out", folder)
    announced, told = capsys.readouterr().err.splitlines()
    assert announced.startswith("this scenario is a program: ")
    assert code == 2
    assert told.startswith(f"{kind}.divide (wrong_seams.py, line ")
