"""This host as a device: what is timed, what is written, and how a run takes it."""

import itertools
import json

import pytest
import torch
import yaml
from typer.testing import CliRunner

from fl.calibration import PRODUCT_SIZES, PRODUCTS, measure
from fl.costs import count_costs
from fl.settings.federation import FederationSettings
from fl.settings.local_training import TrainingSettings
from netsim import load_run
from netsim.cli.main import app
from netsim.cosim.commands.calibrate import Request, calibrated
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
from netsim.devices.catalogue import DeviceChoice
from netsim.devices.device_file import NO_POWERS
from netsim.errors import InputError
from netsim.verify import verify

TRAINING = TrainingSettings(local_steps=4, per_device_train_batch_size=8)
SMALL = (
    "learning.training.local_steps=2",
    "learning.training.per_device_train_batch_size=4",
)


def test_achieved_speed_times_a_steps_time_is_the_counted_flop():
    learning = FederationSettings(training=TRAINING)
    ticks = itertools.count()
    threads = torch.get_num_threads()
    found = measure(
        learning, device="cpu", threads=1, trials=3, clock=lambda: float(next(ticks))
    )
    assert found.trials_s == (1.0, 1.0, 1.0)  # two readings each, a second apart
    assert found.step_s == 0.25
    facts = count_costs(
        learning.task, learning.backbone, lora=learning.lora, training=TRAINING
    )
    assert found.flop_per_step == facts.training_flop(rank=learning.lora.r, steps=1)
    assert found.flop_per_s * found.step_s == found.flop_per_step
    assert found.samples_per_step == 8
    products = PRODUCTS * 2 * PRODUCT_SIZES["cpu"] ** 3
    assert found.product_flop_per_s == pytest.approx(products, rel=1e-3)
    assert torch.get_num_threads() == threads


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """Return the file of this host, measured on the small vision transformer."""
    path = tmp_path_factory.mktemp("host") / "my-host.yaml"
    given = ["calibrate", "quickstart", "--out", str(path), "--trials", "2", "--json"]
    for override in SMALL:
        given += ["--set", override]
    result = CliRunner().invoke(app, [*given, "--compute-power", "12 W"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.output.splitlines()[-1])
    assert report["device"] == str(path)
    assert "a power is not known" in result.output
    return path


def test_the_file_says_what_was_measured_where_and_with_what(host):
    written = yaml.safe_load(host.read_text())
    measured = written["calibration"]
    device = DeviceChoice.model_validate(
        {"device": host.name}, context={"folder": host.parent}
    ).device
    number, unit = measured["step_time"].split()
    step_s = float(number) * {"us": 1e-6, "ms": 1e-3, "s": 1.0}[unit]
    flop = int(measured["flop_per_step"].split()[0])
    assert device.flop_per_s * step_s == pytest.approx(flop, rel=1e-12)
    assert 0 < device.efficiency <= 1
    assert device.name == "my-host"
    assert written["idle_power"] is None
    assert (device.compute_power_w, device.idle_power_w) == (12, 0)
    assert NO_POWERS in device.source
    assert device.power_basis == "not known"
    assert {"torch", "python"} <= set(measured["versions"])
    assert measured["model"] == "small-vit"
    assert len(measured["trials"]) == 2


def test_a_run_takes_the_file_once_and_is_then_its_own(host, tmp_path):
    copied = tmp_path / "my-host.yaml"
    copied.write_bytes(host.read_bytes())
    text = find_scenario("network-only").read_text()
    (tmp_path / "own.yaml").write_text(text)
    overrides = ("population.devices=[{device: my-host.yaml}]", "stop.rounds=2")
    scenario = read_scenario(tmp_path / "own.yaml", overrides)
    copied.unlink()
    manifest = run_scenario(scenario, tmp_path / "run")
    assert not verify(tmp_path / "run")
    resolved = (tmp_path / "run" / "scenario.yaml").read_text()
    assert "my-host.yaml" not in resolved
    again = read_scenario(tmp_path / "run" / "scenario.yaml")
    assert run_scenario(again, tmp_path / "again").digest == manifest.digest
    (choice,) = scenario.population.devices
    tasks = load_run(tmp_path / "run").tasks
    took_s = (tasks.compute_end_ns - tasks.compute_start_ns) / 1e9
    mean_s = scenario.learning.compute_flop / choice.device.flop_per_s
    assert took_s.mean() == pytest.approx(mean_s, rel=0.2)  # jitter is 10 %


@pytest.mark.parametrize(
    ("scenario", "changes", "message"),
    [
        ("network-only", {}, "trains nothing that could be timed"),
        ("quickstart", {"out": "host.txt"}, "must end in .yaml, got"),
        ("quickstart", {"out": "there.yaml"}, "exists: a device is measured once"),
        ("quickstart", {"peak_flop_per_s": 1.0}, "--peak must be at least the"),
    ],
)
def test_what_cannot_be_measured_is_refused(tmp_path, scenario, changes, message):
    (tmp_path / "there.yaml").touch()
    given = {"out": "host.yaml", "trials": 1, **changes}
    given["out"] = tmp_path / given["out"]
    asked = read_scenario(find_scenario(scenario), SMALL if "quick" in scenario else ())
    with pytest.raises(InputError, match=message):
        calibrated(asked, Request(**given))
    assert not (tmp_path / "host.yaml").exists()


def test_a_wrong_option_or_file_is_one_clear_message(tmp_path, monkeypatch):
    wrong = ["calibrate", "quickstart", "--out", "x.yaml", "--peak", "3 GHz"]
    result = CliRunner().invoke(app, wrong)
    assert "--peak unknown unit 'GHz'" in str(result.exception)
    (tmp_path / "bad.yaml").write_text("name: bad\npeak: 1 TFLOP/s\nefficency: 0.3\n")
    text = find_scenario("network-only").read_text()
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(InputError) as error:
        read_scenario(
            tmp_path / "own.yaml", ("population.devices=[{device: bad.yaml}]",)
        )
    assert "population.devices.0.device" in str(error.value)
    assert "bad.yaml:3:1" in str(error.value)
    assert "did you mean 'efficiency'" in str(error.value)
