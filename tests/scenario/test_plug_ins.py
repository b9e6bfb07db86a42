"""A user's own class that answers wrongly, or raises, is named in one line."""

import pickle
from typing import ClassVar

import pytest

from fl.failure import failure
from fl.workers.processes import applied
from netsim.availability import Always
from netsim.band import Terms
from netsim.cosim.commands.choices import SEAMS
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
from netsim.errors import InputError
from netsim.policy import FullRank
from netsim.scenario import Record
from netsim.sharing import ProcessorSharing
from tests.support.command import netsim
from tests.support.places import ROOT

SYNCHRONOUS = "{{kind: '{}', sampling: full, announce_time: 0 s, merge_time: 0 s}}"
TRACE = next((ROOT / "scenarios/traces").glob("*.up"))
RADIO = "cell.uplink.radio={{kind: '{}', reference_band: 1 MHz}}"
NAMED = {"FloatBits": "HalfBits", "NoPaths": "Lost", "Steers": "Twice"}
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
    "HalfBit": (
        "cell.uplink.radio={{kind: '{}', reference_band: 1 MHz}}",
        "efficiency_nbit",
    ),
    "NanRate": ("cell.uplink.radio={{kind: '{}', reference_band: 1 MHz}}", "rate_bps"),
    "NoRadio": ("cell.fading={}", "effective_radio"),
    "NanLoss": (
        "cell.path_loss={{kind: '{}', exponent: 3, reference_loss: 40 dB}}",
        "loss_db",
    ),
    "NoPlace": ("population.placement={{kind: '{}', distance: 50 m}}", "place"),
    "NoPaths": ("population.mobility={}", "at"),
    "FloatOffset": (f"population.links={{{{kind: '{{}}', files: [{TRACE}]}}}}", "link"),
    "NanDiscount": (
        "server={{kind: asynchronous, concurrency: 2, mixing: 0.5, "
        "staleness: '{}', merge_time: 0 s}}",
        "discount",
    ),
    "NanTiming": (f"server={SYNCHRONOUS}", "round_timing"),
    "NoProcess": (f"server={SYNCHRONOUS}", "play"),
    "NoSampler": ("policy={}", "samplers"),
    "EndsEarly": ("policy={}", "samplers"),
    "Steers": ("policy={}", "draw"),
    "HalfWeight": ("cell.uplink.sharing={}", "divide"),
    "FloatBits": (
        "learning={{kind: '{}', download: 1 kbit, upload: 1 kbit, compute: 1 GFLOP}}",
        "bits_up",
    ),
}
LEARNING = {
    "HighRank": ("ranks={}", "rank"),
    "NoRank": ("ranks={}", "rank"),
    "NoModel": ("learning.backbone={}", "digest"),
    "ShortUpload": ("learning.compression={}", "deliver"),
    "NoMoments": ("learning.server_optimiser={}", "step"),
    "NoDemands": ("learning.local_training={}", "demands"),
    "NoDigest": ("learning.task={}", "digest"),
    "SampleTwice": ("learning.partition={}", "split"),
    "Transposed": ("learning.aggregation={}", "merge"),
    "LayerMissing": ("learning.aggregation={}", "merge"),
    "OtherDtype": ("learning.aggregation={}", "merge_layer"),
    "LowRank": ("learning.aggregation={}", "merge_layer"),
}
RAISES = {
    "DivideRaises": ("network-only", "cell.uplink.sharing={}", "ZeroDivisionError"),
    "DrawRaises": ("network-only", "server.sampling={}", "IndexError"),
    "MergeRaises": ("quickstart", "learning.aggregation={}", "RuntimeError"),
    "FloatPause": ("network-only", f"server={SYNCHRONOUS}", "ValueError"),
}
SHORT = {
    "network-only": (
        "stop.rounds=1",
        "cell.downlink.mode=unicast",
        "cell.downlink.sharing=processor-sharing",
    ),
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
    asked = NAMED.get(name, name)
    expected = f"tests.support.wrong_seams:{asked}.{method} must return "
    assert expected in message
    assert "\n" not in message


def test_a_compression_that_asks_for_what_there_is_not_is_refused_by_name():
    kind = "tests.support.wrong_seams:AsksTooMuch"
    with pytest.raises(InputError, match=r"'rnd' in deliver, did you mean 'rng'"):
        read_scenario(find_scenario("quickstart"), (f"learning.compression={kind}",))


def test_every_seam_has_a_wrong_answer():
    settings = [*NETWORK.values(), *LEARNING.values()]
    answered = {setting.partition("=")[0] for setting, _ in settings}
    assert {seam.path for seam in SEAMS} - {"server.staleness"} <= answered
    assert any("staleness: " in setting for setting, _ in settings)


@pytest.mark.parametrize("name", RAISES)
def test_an_exception_names_module_class_and_method(name, tmp_path):
    scenario, setting, kind = RAISES[name]
    with pytest.raises(Exception) as raised:  # noqa: PT011
        run(scenario, setting, name, tmp_path / "run")
    message = failure(raised.value)
    assert message.startswith(f"tests.support.wrong_seams:{name}.")
    assert f"raised {kind}: " in message
    assert "\n" not in message


class Far(Exception):
    """An error that cannot be made again from what it holds."""

    def __init__(self, one, other):
        super().__init__(one)


class Trains(Record):
    error: ClassVar[type] = ValueError
    args: ClassVar[tuple] = ("no batch",)

    def batch(self):
        raise self.error(*self.args)


class TrainsFar(Trains):
    error: ClassVar[type] = Far
    args: ClassVar[tuple] = ("no batch", 1)


@pytest.mark.parametrize("cls", [Trains, TrainsFar])
def test_an_exception_in_a_worker_names_them_too(cls):
    answer = applied(lambda state, item: state.batch(), cls(), None)
    error = pickle.loads(pickle.dumps(answer)).error
    kind = cls.error.__name__
    assert failure(error).startswith(f"{__name__}:{cls.__name__}.batch (")
    assert failure(error).endswith(f") raised {kind}: no batch")


class Away(Always):
    kind: ClassVar[str] = "away"

    def intervals(self, seed, client_id, since_ns):
        yield 0, 1


class Heavier(ProcessorSharing):
    kind: ClassVar[str] = "heavier"

    def divide(self, started, live, band):
        return [(one, Terms(weight=1 + one.message.client_id)) for one in started]


class Half(FullRank):
    kind: ClassVar[str] = "half"

    def rank(self, full_rank, device, memory_at):
        return full_rank // 2


def test_what_a_class_changes_it_does_not_inherit_by_a_trait(tmp_path):
    def read(*overrides):
        return read_scenario(find_scenario("network-only"), overrides)

    for setting in (
        f"population.availability={__name__}:Away",
        f"ranks={__name__}:Half",
    ):
        with pytest.raises(InputError, match=r"declares no trait of .*: add one"):
            read(setting)
    short = ("stop.rounds=1", "server.sampling=full", "cell.fading=none")
    rules = {"mine": f"{__name__}:Heavier", "ours": "processor-sharing"}
    first, second = (
        run_scenario(read(*short, f"cell.uplink.sharing={rule}"), tmp_path / name)
        for name, rule in rules.items()
    )
    assert first.network_digest != second.network_digest
    assert "divides-equally" in ProcessorSharing.traits


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
