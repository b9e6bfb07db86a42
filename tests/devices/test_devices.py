import json
import math

import numpy as np
import pytest
from pydantic import ValidationError

from fl.contract import Work
from netsim.core.streams import stream
from netsim.devices.catalogue import DEVICES, DeviceChoice, DeviceMix
from netsim.devices.device import (
    SPREADS,
    Device,
    ExponentialSpread,
    LogNormalSpread,
    jitter_factor,
    spread_factor,
)

BOARD = Device(
    name="board",
    peak_flop_per_s=1e12,
    efficiency=0.25,
    memory_bytes=8 * 10**9,
    compute_power_w=10,
    idle_power_w=2,
    transmit_efficiency=0.4,
)


def test_a_quarter_of_a_teraflop_per_second():
    assert BOARD.flop_per_s == 0.25e12
    assert BOARD.compute_time_s(Work(500_000_000_000)) == 2
    assert BOARD.compute_time_s(Work(0)) == 0


def test_energy_by_hand():
    assert BOARD.compute_energy_j(3) == 30
    assert BOARD.idle_energy_j(3) == 6
    # 23 dBm is 199.5 mW at the antenna, 498.8 mW at the amplifier.
    assert BOARD.transmit_energy_j(23, 10) == pytest.approx(4.9881558)


@pytest.mark.parametrize(
    "change",
    [
        {"efficiency": 0},
        {"efficiency": 1.1},
        {"peak_flop_per_s": 0},
        {"memory_bytes": 0},
        {"transmit_efficiency": 0},
        {"idle_power_w": -1},
        {"colour": "red"},
    ],
)
def test_impossible_devices_are_refused(change):
    with pytest.raises(ValidationError):
        Device(**{**BOARD.model_dump(), **change})


@pytest.mark.parametrize("name", DEVICES)
def test_catalogue_states_its_sources_and_assumptions(name):
    device = DEVICES[name]
    assert device.name == name
    assert "efficiency" in device.source or device.software
    assert (device.basis == "assumed") == (not device.software)
    assert "assumed" in device.source
    assert device.power_basis in ("measured", "assumed")
    assert device.doubt >= 1
    assert device.idle_power_w < device.compute_power_w


def test_catalogue_peaks_are_cores_times_lanes_times_clock():
    def peak(name):
        return DEVICES[name].peak_flop_per_s

    assert peak("raspberry-pi-5") == pytest.approx(4 * 2 * 4 * 2 * 2.4e9)
    assert peak("jetson-nano") == pytest.approx(128 * 2 * 921.6e6, rel=0.01)
    assert peak("jetson-orin-nano-8gb") == pytest.approx(1024 * 2 * 625e6, rel=0.01)
    assert peak("jetson-agx-orin-64gb") == pytest.approx(2048 * 2 * 1.3e9, rel=0.01)
    assert peak("pixel-7") == pytest.approx(7 * 64 * 2 * 848e6, rel=0.01)
    assert peak("nvidia-t4") == pytest.approx(2560 * 2 * 1.59e9, rel=0.01)
    assert peak("raspberry-pi-4") == pytest.approx(4 * 4 * 2 * 1.8e9)
    assert peak("jetson-tx2") == pytest.approx(256 * 2 * 1.3e9)
    assert peak("jetson-xavier-nx-8gb") == pytest.approx(384 * 2 * 1100e6)
    assert peak("jetson-agx-xavier-32gb") == pytest.approx(512 * 2 * 1377e6, rel=0.01)
    assert peak("galaxy-s21") == pytest.approx(14 * 32 * 2 * 854e6, rel=0.01)
    assert peak("pixel-8") == pytest.approx(7 * 128 * 2 * 890e6, rel=0.01)
    assert peak("laptop-core-i7-1165g7") == pytest.approx(4 * 2 * 8 * 2 * 2.8e9)
    assert peak("apple-m1") == pytest.approx(1024 * 2 * 1278e6, rel=0.01)
    assert peak("laptop-rtx-4060") == pytest.approx(3072 * 2 * 2370e6, rel=0.01)
    assert peak("nvidia-a2") == pytest.approx(1280 * 2 * 1770e6, rel=0.01)
    assert peak("edge-server-a10") == pytest.approx(9216 * 2 * 1695e6, rel=0.01)


def test_catalogue_covers_boards_phones_laptops_and_servers():
    kinds = {
        "board": ("raspberry-pi-", "jetson-"),
        "phone": ("pixel-", "galaxy-", "hi-nova-", "iphone-"),
        "laptop": ("laptop-", "apple-"),
        "server": ("nvidia-", "edge-server-"),
    }
    for prefixes in kinds.values():
        assert sum(name.startswith(prefixes) for name in DEVICES) >= 3
    assert len(DEVICES) >= 12


def test_mix_takes_names_and_devices_and_meets_its_shares():
    mix = DeviceMix(
        choices=(
            DeviceChoice(device="raspberry-pi-5", share=3),
            DeviceChoice(device=BOARD, share=1),
        )
    )
    assert [device.name for device in mix.devices] == ["raspberry-pi-5", "board"]
    drawn = mix.draw(10_000, stream(1, "devices"))
    assert (drawn == 1).mean() == pytest.approx(0.25, abs=0.015)
    assert set(drawn.tolist()) == {0, 1}


def test_one_more_client_changes_nobodys_device():
    mix = DeviceMix(
        choices=tuple(DeviceChoice(device=device) for device in DEVICES.values())
    )
    few, many = (mix.draw(n, stream(1, "devices")) for n in (50, 51))
    np.testing.assert_array_equal(few, many[:50])
    assert DeviceMix(choices=mix.choices[:1]).draw(3, stream(1)).tolist() == [0, 0, 0]


def test_an_unknown_device_is_refused_with_the_nearest_name():
    with pytest.raises(ValidationError, match="did you mean 'raspberry-pi-5'"):
        DeviceChoice(device="rasberry-pi-5")


@pytest.mark.parametrize("share", [0, -1, math.inf, math.nan])
def test_shares_are_positive(share):
    with pytest.raises(ValidationError):
        DeviceChoice(device="nvidia-t4", share=share)


def test_the_schema_offers_the_catalogue():
    schema = json.dumps(DeviceChoice.model_json_schema())
    assert all(f'"{name}"' in schema for name in DEVICES)


@pytest.mark.parametrize("spread", [LogNormalSpread(sigma=0.5), ExponentialSpread()])
def test_spreads_have_mean_one_and_grow_with_their_quantile(spread):
    middles = (np.arange(20_000) + 0.5) / 20_000
    factors = [spread.factor(float(u)) for u in middles]
    assert np.mean(factors) == pytest.approx(1, abs=2e-3)
    assert factors == sorted(factors)
    assert factors[0] > 0


def test_spread_quantiles_by_hand():
    assert ExponentialSpread().factor(0.5) == pytest.approx(math.log(2))
    assert LogNormalSpread(sigma=0.4).factor(0.5) == pytest.approx(math.exp(-0.08))
    # One standard deviation up is the quantile 0.8413447.
    high = LogNormalSpread(sigma=0.4).factor(0.8413447460685429)
    assert high == pytest.approx(math.exp(0.4 - 0.08))
    assert LogNormalSpread(sigma=0).factor(0.9) == 1


def test_jitter_is_drawn_anew_each_round_and_spread_once():
    factors = np.array([jitter_factor(1, n, r, 0.3) for n in range(50) for r in (0, 1)])
    assert len(set(factors)) == 100
    assert factors.mean() == pytest.approx(1, abs=0.1)
    assert np.log(factors).std() == pytest.approx(0.3, abs=0.08)
    assert jitter_factor(1, 2, 3, 0.3) == jitter_factor(1, 2, 3, 0.3)
    assert jitter_factor(1, 2, 3, 0) == 1
    spread = ExponentialSpread()
    assert spread_factor(1, 2, spread) == spread_factor(1, 2, spread)
    assert spread_factor(1, 2, spread) != spread_factor(1, 3, spread)


def test_every_spread_is_listed_under_its_own_name():
    for name, spread in SPREADS.items():
        assert spread.model_fields["kind"].default == name


def test_a_device_of_ones_own_is_written_with_units():
    written = {
        "name": "my-board",
        "peak": "1 TFLOP/s",
        "efficiency": 0.3,
        "memory": "8 GB",
        "compute_power": "12 W",
        "idle_power": "2 W",
    }
    choice = DeviceChoice.model_validate(
        {"device": written, "share": 0.5}, context={"source": "yaml"}
    )
    assert choice.device.flop_per_s == 0.3e12
    again = DeviceChoice.model_validate(
        choice.model_dump(mode="json"), context={"source": "yaml"}
    )
    assert again == choice


def test_each_term_of_a_devices_time_is_its_own():
    work = Work(
        flop=10**12,
        product_bytes=10**9,
        other_bytes=10**8,
        operations=1000,
        blocks=100,
        large_bytes=10**7,
        steps=2,
    )
    terms = {
        "fixed_time_s": (0.5, 1.0),
        "launch_time_s": (2e-5, 0.02),
        "product_bandwidth_bytes_per_s": (1e10, 0.1),
        "other_bandwidth_bytes_per_s": (1e9, 0.1),
        "block_time_s": (1e-5, 0.001),
        "large_bandwidth_bytes_per_s": (1e9, 0.01),
    }
    assert BOARD.compute_time_s(work) == 4
    for name, (value, seconds) in terms.items():
        device = BOARD.model_copy(update={name: value})
        assert device.compute_time_s(work) == pytest.approx(4 + seconds)


def test_products_of_16_bit_numbers_run_at_their_own_rate():
    work = Work(300, half_flop=200)
    device = DEVICES["raspberry-pi-5"].model_copy(
        update={"peak_flop_per_s": 100.0, "efficiency": 0.5}
    )
    assert device.compute_time_s(work) == 300 / 50
    half = device.model_copy(update={"half_rate_flop_per_s": 400.0})
    assert half.compute_time_s(work) == 100 / 50 + 200 / 400
