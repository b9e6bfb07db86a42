"""Published step times, the laws fitted to them, and the devices made of these."""

import csv
import math
from collections import Counter

import pytest
from typer.testing import CliRunner

from netsim.cli.main import app
from netsim.cosim.reading import read_scenario
from netsim.cosim.shipped import FOLDER, names
from netsim.devices.catalogue import DEVICES
from netsim.devices.device import least_certain, least_certain_power
from netsim.devices.device_file import read_device
from netsim.devices.fitted import FITTED
from netsim.devices.fitting import fit, one_rate, with_fixed_time
from netsim.devices.observations import SHIPPED, by_setting, read_observations
from netsim.errors import InputError

ALL = read_observations()


def settings(row):
    return by_setting(
        one
        for one in ALL
        if one.group == row.group and one.flop is not None and row.only in one.setting
    )


def test_the_package_brings_all_observations_with_their_sources():
    assert len(ALL) > 350
    assert all(one.source and one.device and one.group for one in ALL)


@pytest.mark.parametrize("row", FITTED, ids=lambda row: row.name)
def test_a_fitted_device_is_what_its_observations_give(row):
    found = fit(settings(row))
    assert row.num_settings == len(settings(row))
    assert row.flop_per_s == pytest.approx(found.law.flop_per_s, rel=1e-3)
    assert row.fixed_s == pytest.approx(found.law.fixed_s, rel=2e-3)
    if found.doubt is not None:
        assert found.doubt <= row.doubt <= found.doubt + 0.011
    device = DEVICES[row.name]
    assert device.basis == ("fitted" if row.num_settings > 1 else "measured")


def test_most_settings_that_were_left_out_are_within_the_doubt():
    for row in FITTED:
        errors = fit(settings(row)).errors
        if len(errors) > 4:
            inside = sum(error <= row.doubt for error in errors)
            assert 0.7 <= inside / len(errors) <= 1


def test_two_laws_by_hand():
    law = with_fixed_time([(10.0, 3.0), (20.0, 5.0), (40.0, 9.0)])
    assert law == pytest.approx((5.0, 1.0))  # a second, and 5 FLOP/s
    assert law.step_s(30.0) == pytest.approx(7.0)
    assert one_rate([(8.0, 1.0), (2.0, 1.0)]).flop_per_s == pytest.approx(4.0)
    falling = [(10.0, 9.0), (20.0, 12.0), (40.0, 16.0)]
    assert with_fixed_time([(f, f**1.2) for f, _ in falling]).fixed_s == 0


def test_the_same_setting_on_equal_devices_counts_once():
    phones = [one for one in ALL if one.group == "sd778g" and one.flop is not None]
    (mean,) = by_setting(phones)
    assert len(phones) == 5
    assert mean.step_s == pytest.approx(math.fsum(p.step_s for p in phones) / 5)


def test_phones_predict_the_task_that_they_were_not_fitted_on():
    """Steps of the same size on MMLU, whose lengths the source does not give."""
    for group, most in (("sd778g", 1.05), ("jetson-nano", 1.12)):
        rows = [one for one in ALL if one.group == group and "Gemma" in one.setting]
        fitted, held_out = (
            [one.step_s for one in rows if (one.flop is None) == is_held_out]
            for is_held_out in (False, True)
        )
        ratio = (sum(fitted) / len(fitted)) / (sum(held_out) / len(held_out))
        assert 1 <= ratio < most


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("device,step_second\nx,1\n", "needs a column 'step_seconds', did you mean"),
        ("device,step_seconds\nx,fast\n", "log.csv:2: step_seconds must be a number"),
        ("device,step_seconds\nx,-1\n", "above 0, got '-1'"),
        ("device,step_seconds,flop_per_step\nx,1,nan\n", "flop_per_step must be"),
        ("device,step_seconds\n", "has no row with step_seconds"),
    ],
)
def test_a_wrong_log_is_one_message(tmp_path, text, message):
    path = tmp_path / "log.csv"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_observations(path)
    assert message in str(error.value)


def test_the_least_certain_device_is_named():
    board, phone = DEVICES["jetson-nano"], DEVICES["pixel-7"]
    assert least_certain([board, phone]) is phone
    unknown = board.model_copy(update={"doubt": None})
    assert least_certain([phone, unknown]) is unknown
    assert unknown.certainty == "assumed, error not stated"
    assert phone.certainty == "assumed, within a factor 50"


@pytest.mark.parametrize("board", ["jetson-xavier-nx", "jetson-orin-nano"])
def test_measured_powers_are_the_mean_of_what_was_observed(board):
    with SHIPPED.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["group"] == board]
    powers_w = [float(row["power_w"]) for row in rows if row["power_w"]]
    device = DEVICES[f"{board}-8gb"]
    assert device.power_basis == "measured"
    assert device.compute_power_w == pytest.approx(sum(powers_w) / 2, abs=0.06)
    assert max(powers_w) / min(powers_w) < 1.07  # two models


def test_the_least_certain_power_is_named():
    board, phone = DEVICES["jetson-orin-nano-8gb"], DEVICES["pixel-7"]
    assert least_certain_power([board, phone]) is phone
    unknown = board.model_copy(update={"power_basis": "not known"})
    assert least_certain_power([phone, unknown]) is unknown


LOG = "device,software,model,flop_per_step,step_seconds\n"


def of_log(tmp_path, text, *options):
    log, out = tmp_path / "log.csv", tmp_path / "their-phone.yaml"
    log.write_text(text)
    given = ["calibrate", "--observations", str(log), "--out", str(out), *options]
    return CliRunner().invoke(app, given), out


def test_a_log_becomes_a_device_with_its_error(tmp_path):
    rows = "".join(f"phone,app 1,m{n},{n}e9,{1 + n / 4}\n" for n in (2, 4, 8, 16))
    result, out = of_log(tmp_path, LOG + rows, "--memory", "8 GB")
    assert result.exit_code == 0, result.output
    assert "on each of 4 settings left out of the fit" in result.output
    device = read_device(out)
    assert device.flop_per_s == pytest.approx(4e9)
    assert device.fixed_time_s == pytest.approx(1)
    assert (device.basis, device.software) == ("fitted", "app 1")
    assert device.doubt == pytest.approx(1)


def test_rows_of_a_log_without_flop_are_left_out_and_told(tmp_path):
    rows = "phone,app 1,m,1e9,1.18\nphone,app 2,m,,3\nphone,app 1,m,2e9,2\n"
    result, out = of_log(tmp_path, LOG + rows, "--memory", "8 GB")
    assert "left out    1 of 3 rows, without FLOP: give flop_per_step" in result.output
    assert "2 settings" in read_device(out).source
    assert read_device(out).software == "app 1"
    doubtful = read_device(out).model_copy(update={"doubt": 1.180791765})
    assert doubtful.certainty == "fitted, within a factor 1.18"


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ("a,,m,1e9,1\n", (), "needs --memory"),
        ("a,,m,1e9,1\nb,,m,1e9,2\n", ("--memory", "8 GB"), "must hold one device"),
        ("a,,m,,1\n", ("--memory", "8 GB"), "no row says its FLOP"),
        ("a,,m,1,1\n", ("quickstart",), "needs a scenario, --sweep or"),
    ],
)
def test_a_log_that_makes_no_device_is_refused(tmp_path, rows, options, message):
    result, out = of_log(tmp_path, LOG + rows, *options)
    assert message in str(result.exception)
    assert not out.exists()


def test_four_in_five_left_out_settings_lie_within_the_others_doubt():
    inside, total = Counter(), Counter()
    for row in FITTED:
        rows = settings(row)
        if len(rows) < 6:
            continue
        is_board = row.name.startswith(("raspberry-", "jetson-"))
        is_phone = row.name.startswith(("galaxy-", "pixel-", "iphone-"))
        kind = "board" if is_board else "phone" if is_phone else "other"
        for index, one in enumerate(rows):
            others = fit([*rows[:index], *rows[index + 1 :]])
            ratio = others.law.step_s(one.flop) / one.step_s
            total[kind] += 1
            inside[kind] += max(ratio, 1 / ratio) <= others.doubt
    assert set(total) == {"board", "phone", "other"}
    for kind, count in total.items():
        assert 0.7 <= inside[kind] / count <= 0.9


@pytest.mark.parametrize("name", names())
def test_shipped_scenarios_without_small_steps_have_observed_devices(name):
    scenario = read_scenario(FOLDER / f"{name}.yaml")
    if scenario.learning.federated is None and name != "calibrated":
        choices = scenario.population.devices
        assert {one.device.basis for one in choices} <= {"measured", "fitted"}
