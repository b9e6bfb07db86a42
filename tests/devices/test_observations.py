"""Published step times, the laws fitted to them, and the devices made of these."""

import math

import pytest

from netsim.devices.catalogue import DEVICES
from netsim.devices.device import least_certain
from netsim.devices.fitted import FITTED
from netsim.devices.fitting import fit, one_rate, with_fixed_time
from netsim.devices.observations import by_setting, read_observations
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
