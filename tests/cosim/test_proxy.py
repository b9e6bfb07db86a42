"""Learning by proxy: a model that is counted gives sizes and work; none is trained."""

import json
import subprocess
import sys

import pytest

from fl.aggregation import AGGREGATIONS
from fl.costs import TimingAs
from fl.model.adapters import LoraSettings
from fl.settings.local_training import TrainingSettings
from netsim.cosim.learning_kinds import LoraLearning
from netsim.cosim.proxy import ProxyLearning
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
from netsim.errors import InputError
from netsim.learner.learner import first_job
from netsim.verify import verify
from tests.support.tiny_config import write_config

pytestmark = pytest.mark.slow

TRAINING = TrainingSettings(local_steps=3, per_device_train_batch_size=2)


@pytest.fixture
def model(tmp_path):
    """A folder with the configuration of a tiny Llama, which is soon counted."""
    return write_config(tmp_path)


def test_it_costs_what_training_timed_as_the_model_costs(model):
    lora, timing = LoraSettings(r=8), TimingAs(model=model, sequence_length=64, r=16)
    proxy = ProxyLearning(model=timing, lora=lora, training=TRAINING)
    ours = proxy.learner(4, 0, reuse=False)
    config = LoraLearning(
        lora=lora,
        training=TRAINING,
        timing_as=timing,
        aggregation=AGGREGATIONS["fedit"](),
    )
    theirs = config.learner(4, 0, reuse=False)
    job = first_job(theirs)
    assert sum(ours.bits_down(job, None)) == sum(theirs.bits_down(job, None))
    assert ours.bits_up(job) == theirs.bits_up(job)
    assert ours.work(job) == theirs.work(job)
    assert ours.memory_at(ours.rank) == theirs.memory_at(theirs.rank)
    assert proxy.timing_model()["time"] == config.timing_model()["time"]


def test_modules_of_lora_are_counted_wherever_they_stand(model):
    timing, training = {"model": model, "sequence_length": 64}, TRAINING
    for modules, numbers in ((["q_proj", "v_proj"], 4), (["q_proj"], 2)):
        lora = {"r": 8, "target_modules": modules}
        for settings in (
            {"model": timing, "lora": lora, "training": training},
            {"model": {**timing, "target_modules": modules}, "training": training},
        ):
            proxy = ProxyLearning.model_validate(settings)
            learner = proxy.learner(4, 0, reuse=False)
            bits = 32 * 8 * numbers * (16 + 16)  # of B [16, 8] and A [8, 16]
            assert learner.bits_up(first_job(learner)) == bits
            assert f"on {', '.join(modules)};" in proxy.timing_model()["time"]
    lora = LoraLearning.model_validate(
        {"lora": {"r": 8, "target_modules": ["q_proj"]}, "timing_as": timing}
    )
    assert lora.timing_as.target_modules == ("q_proj",)


def test_a_run_by_proxy_trains_nothing_and_imports_no_torch(model, tmp_path):
    overrides = (
        f"learning={{kind: proxy, model: {{model: {model}, sequence_length: 64}}}}",
        "stop.rounds=2",
    )
    scenario = read_scenario(find_scenario("network-only"), overrides)
    manifest = run_scenario(scenario, tmp_path / "run")  # counts the model, once
    assert manifest.steps_trained == 0
    assert manifest.final == {}
    assert model in manifest.timing_model["time"]
    assert verify(tmp_path / "run") == []
    code = (
        "import sys; from netsim.cli.main import app\n"
        f"sys.argv = ['netsim', 'replay', {str(tmp_path / 'run')!r}, '--quiet', "
        f"'--json', '--out', {str(tmp_path / 'again')!r}]\n"
        "try: app()\nexcept SystemExit as end: assert not end.code\n"
        "assert 'torch' not in sys.modules"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout.splitlines()[-1])["digest"] == manifest.digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("stop={rounds: 2, target: {level: 0.9}}", "needs learning: nothing is scored"),
        ("ranks={kind: fixed, rank: 2}", "needs learning: nothing has a rank"),
    ],
)
def test_what_needs_training_is_refused(change, message):
    learning = "learning={kind: proxy, model: {model: llama-3.2-1b}}"
    with pytest.raises(InputError, match=message):
        read_scenario(find_scenario("network-only"), (learning, change))


def test_an_unknown_model_is_refused_by_name():
    with pytest.raises(InputError, match="did you mean"):
        read_scenario(
            find_scenario("network-only"),
            ("learning={kind: proxy, model: {model: llama-3.2-1bb}}",),
        )
