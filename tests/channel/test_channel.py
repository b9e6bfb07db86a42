import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from netsim.channel import (
    FADINGS,
    PATH_LOSSES,
    PLACEMENTS,
    RADIOS,
    Disc,
    FixedPowerRadio,
    Link,
    LogDistance,
    NoFading,
    PerHertzRadio,
    Positions,
    RayleighBlock,
    Ring,
    UrbanMicro,
    WorstLink,
    db_to_linear,
    dbm_to_w,
    linear_to_db,
    mean_cn0_hz,
    noise_dbm,
    require_reachable,
)
from netsim.channel.radio import _snr_at_load
from netsim.core.streams import stream
from netsim.errors import InputError

UMI = UrbanMicro(carrier_hz=3.5e9)
RADIO_EXAMPLES = [
    FixedPowerRadio(),
    FixedPowerRadio(gap_db=3.0, max_efficiency_bit_s_hz=4.0),
    PerHertzRadio(reference_band_hz=1e6),
    PerHertzRadio(reference_band_hz=2e7, gap_db=5.0, max_efficiency_bit_s_hz=5.0),
]
every_radio = pytest.mark.parametrize("radio", RADIO_EXAMPLES, ids=repr)
densities_hz = st.floats(1e2, 1e12)
shares_hz = st.floats(1.0, 1e9)


# budget


def test_thermal_noise_over_20_mhz_is_minus_101_dbm():
    assert noise_dbm(20e6) == pytest.approx(-100.99, abs=0.01)
    assert noise_dbm(20e6, noise_figure_db=5) == pytest.approx(-95.99, abs=0.01)


def test_decibels_and_back():
    assert db_to_linear(3) == pytest.approx(1.9952623, rel=1e-7)
    assert linear_to_db(db_to_linear(-12.5)) == pytest.approx(-12.5)
    assert linear_to_db(0.0) == -math.inf
    assert dbm_to_w(30) == 1.0
    assert dbm_to_w(23) == pytest.approx(0.19952623)


def test_link_budget_by_hand():
    # 23 - 100 = -77 dBm received; noise -174 + 5 = -169 dBm/Hz; 92 dBHz.
    cn0_hz = mean_cn0_hz(
        transmit_power_dbm=23, antenna_gain_dbi=3, loss_db=103, noise_figure_db=5
    )
    assert linear_to_db(cn0_hz) == pytest.approx(92)


# radio


def test_snr_of_one_and_of_three_give_one_and_two_bits():
    per_hertz = PerHertzRadio(reference_band_hz=1e6)
    fixed = FixedPowerRadio()
    assert per_hertz.efficiency_nbit(1e6, 5) == 1_000_000_000
    assert per_hertz.efficiency_nbit(3e6, 7_000_000_000) == 2_000_000_000
    assert fixed.efficiency_nbit(1e6, 10**12) == 1_000_000_000
    assert fixed.efficiency_nbit(3e6, 10**12) == 2_000_000_000
    assert fixed.efficiency_nbit(3e6, 3 * 10**12) == 1_000_000_000


def test_shannon_at_20_db_is_6_66_bit_and_a_gap_lowers_it():
    assert FixedPowerRadio().rate_bps(1e8, 1e6) == pytest.approx(6.6582115e6, rel=1e-8)
    # 20 dB less a gap of 10 dB is log2(1 + 10).
    with_gap = FixedPowerRadio(gap_db=10)
    assert with_gap.rate_bps(1e8, 1e6) == pytest.approx(3.4594316e6, rel=1e-8)


def test_fixed_power_saturates_at_cn0_over_ln_2():
    assert FixedPowerRadio().rate_bps(1e6, 1e15) == pytest.approx(1442695.04, rel=1e-8)


@every_radio
def test_no_signal_is_an_outage(radio):
    assert radio.efficiency_nbit(0.0, 10**12) == 0
    assert radio.efficiency_nbit(1e-6, 10**12) == 0
    assert radio.efficiency_nbit(0.0, 0) == 0
    assert radio.share_hz_for_rate(0.0, 1.0) == math.inf
    assert radio.share_hz_for_rate(0.0, 0.0) == 0.0
    assert radio.rate_bps(1e6, 0.0) == 0.0


@every_radio
def test_efficiency_stops_at_the_ceiling(radio):
    assert radio.efficiency_nbit(1e30, 1) == round(radio.max_efficiency_bit_s_hz * 1e9)


@every_radio
@given(low=densities_hz, high=densities_hz, share=shares_hz)
def test_a_stronger_signal_is_never_slower(radio, low, high, share):
    low, high = sorted((low, high))
    assert radio.rate_bps(low, share) <= radio.rate_bps(high, share) * (1 + 1e-12)
    share_uhz = round(share * 1e6)
    assert radio.efficiency_nbit(low, share_uhz) <= radio.efficiency_nbit(
        high, share_uhz
    )


@every_radio
@given(cn0=densities_hz, narrow=shares_hz, wide=shares_hz)
def test_a_wider_share_is_faster_and_less_efficient(radio, cn0, narrow, wide):
    narrow, wide = sorted((narrow, wide))
    assert radio.rate_bps(cn0, narrow) <= radio.rate_bps(cn0, wide) * (1 + 1e-12)
    efficiencies = [radio.efficiency_nbit(cn0, round(s * 1e6)) for s in (narrow, wide)]
    assert efficiencies[0] >= efficiencies[1]
    if not radio.depends_on_share:
        assert efficiencies[0] == efficiencies[1]


@every_radio
@given(cn0=densities_hz, rate=st.floats(1.0, 1e10))
def test_the_inverse_reaches_the_rate_with_the_least_band(radio, cn0, rate):
    share_hz = radio.share_hz_for_rate(cn0, rate)
    if math.isinf(share_hz):
        assert radio.rate_bps(cn0, 1e18) <= rate * (1 + 1e-9)
        return
    assert radio.rate_bps(cn0, share_hz) == pytest.approx(rate, rel=1e-11)
    assert share_hz >= rate / radio.max_efficiency_bit_s_hz * (1 - 1e-15)


def test_no_band_carries_more_than_the_limit():
    radio = FixedPowerRadio(gap_db=3.0)
    limit_bps = 1e6 / db_to_linear(3.0) / math.log(2)
    assert radio.share_hz_for_rate(1e6, limit_bps * (1 + 1e-12)) == math.inf
    assert radio.share_hz_for_rate(1e6, limit_bps * 2) == math.inf
    assert 1e9 < radio.share_hz_for_rate(1e6, limit_bps * (1 - 1e-6)) < math.inf


def test_the_ceiling_holds_for_the_inverse():
    radio = FixedPowerRadio(max_efficiency_bit_s_hz=2.0)
    assert radio.share_hz_for_rate(1e12, 1e6) == pytest.approx(5e5, rel=1e-15)


LOADS = [10.0**-e for e in range(1, 13)] + [1 - 10.0**-e for e in range(1, 16)]


@pytest.mark.parametrize("kappa", [*LOADS, 0.25, 0.5, 0.75, 0.9, math.nextafter(1, 0)])
def test_inverse_equals_the_lower_lambert_branch(kappa):
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(60):
        exact = mpmath.mpf(kappa)
        branch = mpmath.lambertw(-exact * mpmath.exp(-exact), -1).real
        snr = -branch / exact - 1
        assert abs(_snr_at_load(kappa) / snr - 1) < 1e-14


# path loss


@pytest.mark.parametrize(
    ("distance_m", "in_sight_db", "obstructed_db"),
    [  # TR 38.901 Table 7.4.1-1 at 3.5 GHz; the breakpoint is at 210 m
        (10, 66.761033, 73.456860),
        (20, 71.360167, 81.187785),
        (100, 85.314189, 104.643832),
        (209, 92.011969, 115.902481),
        (211, 92.137823, 116.048249),
        (500, 107.113750, 129.264505),
        (3000, 138.237360, 156.731091),
    ],
)
def test_urban_micro_follows_the_standard(distance_m, in_sight_db, obstructed_db):
    assert UMI.loss_db(distance_m, True) == pytest.approx(in_sight_db, abs=1e-6)
    assert UMI.loss_db(distance_m, False) == pytest.approx(obstructed_db, abs=1e-6)


def test_urban_micro_breakpoint_shadowing_and_height():
    assert UMI.breakpoint_m == pytest.approx(210)
    assert UMI.shadowing_sigma_db(99, True) == 4
    assert UMI.shadowing_sigma_db(99, False) == 7.82
    # 0.3 dB less for every metre above 1.5 m, and a bit less of a slope.
    tall = UrbanMicro(carrier_hz=3.5e9, device_height_m=11.5, base_height_m=10)
    slope_db = 35.3 * math.log10(math.hypot(300, 8.5) / math.hypot(300, 1.5))
    lower_db = UMI.loss_db(300, False) - tall.loss_db(300, False)
    assert lower_db == pytest.approx(3.0 + slope_db)


def test_urban_micro_line_of_sight_probability():
    assert UMI.line_of_sight_probability(18) == 1
    assert UMI.line_of_sight_probability(36) == pytest.approx(0.683940, abs=1e-6)
    assert UMI.line_of_sight_probability(100) == pytest.approx(0.230985, abs=1e-6)


@given(low=st.floats(10, 5000), high=st.floats(10, 5000), in_sight=st.booleans())
def test_farther_loses_more_and_obstruction_never_less(low, high, in_sight):
    low, high = sorted((low, high))
    assert UMI.loss_db(low, in_sight) <= UMI.loss_db(high, in_sight) + 1e-9
    assert UMI.loss_db(low, False) >= UMI.loss_db(low, True)
    probability = UMI.line_of_sight_probability
    assert 0 < probability(high) <= probability(low) + 1e-12 <= 1 + 1e-12


@pytest.mark.parametrize("distance_m", [0.0, 9.99, 5001.0, math.nan])
def test_urban_micro_refuses_what_it_does_not_describe(distance_m):
    with pytest.raises(InputError, match="holds from 10 m to 5000 m"):
        UMI.loss_db(distance_m, True)


def test_log_distance_by_hand():
    model = LogDistance(exponent=3.5, reference_loss_db=40, shadowing_db=6)
    assert model.loss_db(1, True) == 40
    assert model.loss_db(100, True) == model.loss_db(100, False) == pytest.approx(110)
    assert model.line_of_sight_probability(1e4) == 1
    assert [model.shadowing_sigma_db(9, sight) for sight in (True, False)] == [6, 6]
    with pytest.raises(InputError, match="holds from 1 m to inf m"):
        model.loss_db(0.5, True)


# fading and links


def gains(num_blocks, direction="uplink", client_id=3):
    fading = RayleighBlock(coherence_time_s=0.01)
    return np.array(
        [
            fading.gain(7, direction, client_id, k * 10_000_000)[0]
            for k in range(num_blocks)
        ]
    )


def test_rayleigh_power_gain_is_exponential_with_mean_one():
    sample = np.sort(gains(4000))
    assert sample.mean() == pytest.approx(1, abs=0.05)
    # Kolmogorov-Smirnov: sqrt(n) D exceeds 1.95 once in a thousand samples.
    levels = np.arange(4001) / 4000
    cdf = 1 - np.exp(-sample)
    distance = max((levels[1:] - cdf).max(), (cdf - levels[:-1]).max())
    assert distance * math.sqrt(4000) < 1.95
    assert abs(np.corrcoef(gains(4000)[1:], gains(4000)[:-1])[0, 1]) < 0.05


def test_gain_changes_exactly_at_block_boundaries():
    fading = RayleighBlock(coherence_time_s=0.01)
    first, end_ns = fading.gain(7, "uplink", 3, 0)
    assert end_ns == 10_000_000
    assert fading.gain(7, "uplink", 3, 9_999_999) == (first, 10_000_000)
    second, end_ns = fading.gain(7, "uplink", 3, 10_000_000)
    assert second != first
    assert end_ns == 20_000_000


def test_clients_directions_and_seeds_fade_independently():
    fading = RayleighBlock(coherence_time_s=0.01)
    named = [(7, "uplink", 3), (7, "uplink", 4), (7, "downlink", 3), (8, "uplink", 3)]
    assert len({fading.gain(*name, 0)[0] for name in named}) == 4


def test_effective_gain_gives_the_ergodic_rate():
    fading = RayleighBlock(coherence_time_s=0.01)
    # E[ln(1 + s g)] = exp(1/s) E1(1/s) at s = 100, 10 and 1 (Abramowitz and Stegun,
    # Table 5.1: E1 = 4.0379296, 1.8229240, 0.2193839).
    for snr, e1 in ((100, 4.0379296), (10, 1.8229240), (1, 0.2193839)):
        rate = math.log1p(snr * fading.effective_gain(snr))
        assert rate == pytest.approx(math.exp(1 / snr) * e1, rel=3e-3)
    assert NoFading().effective_gain(3.0) == 1


def test_link_scales_its_mean_and_broadcast_follows_the_weakest():
    steady = Link(2e6, NoFading(), 7, "downlink", 0)
    assert steady.at(123) == (2e6, None)
    fast = Link(1e6, RayleighBlock(coherence_time_s=0.01), 7, "downlink", 1)
    slow = Link(1e6, RayleighBlock(coherence_time_s=0.03), 7, "downlink", 2)
    cn0_hz, change_ns = WorstLink((slow, steady, fast)).at(35_000_000)
    expected_hz = min(slow.at(35_000_000)[0], 2e6, fast.at(35_000_000)[0])
    assert (cn0_hz, change_ns) == (expected_hz, 40_000_000)
    assert WorstLink((steady,)).at(5) == (2e6, None)


# placement


def test_disc_is_uniform_over_its_area():
    x_m, y_m = Disc(radius_m=200, min_distance_m=100).place(20_000, stream(1, "place"))
    distance_m = np.hypot(x_m, y_m)
    assert distance_m.min() >= 100 * (1 - 1e-12)
    assert distance_m.max() <= 200 * (1 + 1e-12)
    # Half of the area lies within sqrt((100^2 + 200^2) / 2) = 158.1 m.
    assert (distance_m < 158.1139).mean() == pytest.approx(0.5, abs=0.015)
    assert (x_m > 0).mean() == pytest.approx(0.5, abs=0.015)
    assert (y_m > x_m).mean() == pytest.approx(0.5, abs=0.015)


def test_ring_and_list_keep_their_distances():
    x_m, y_m = Ring(distance_m=150).place(100, stream(1, "place"))
    np.testing.assert_allclose(np.hypot(x_m, y_m), 150)
    x_m, y_m = Positions(distances_m=(20, 40)).place(2, stream(1, "place"))
    np.testing.assert_allclose(np.hypot(x_m, y_m), [20, 40])
    with pytest.raises(InputError, match="lists 2 distances for 3 clients"):
        Positions(distances_m=(20, 40)).place(3, stream(1, "place"))


@pytest.mark.parametrize("placement", [Disc(radius_m=500), Ring(distance_m=10)])
def test_one_more_client_moves_no_other(placement):
    few, many = (placement.place(n, stream(1, "place")) for n in (5, 6))
    np.testing.assert_array_equal(np.array(few), np.array(many)[:, :5])
    assert all(UMI.loss_db(d, True) for d in np.hypot(*many))


def test_a_placement_beyond_the_path_loss_is_refused_before_the_run():
    require_reachable(Disc(radius_m=500), UMI)
    with pytest.raises(InputError, match="got a distance of 5 m"):
        require_reachable(Disc(radius_m=500, min_distance_m=5), UMI)
    with pytest.raises(InputError, match="got a distance of 6000 m"):
        require_reachable(Positions(distances_m=(20, 6000)), UMI)


# configuration


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PerHertzRadio(reference_band_hz=0), "greater than 0"),
        (lambda: FixedPowerRadio(gap_db=-1), "greater than or equal to 0"),
        (lambda: UrbanMicro(carrier_hz=0.1e9), "greater than or equal to 5"),
        (lambda: Disc(radius_m=5), "must exceed the minimum distance of 10 m"),
        (lambda: RayleighBlock(coherence_time_s=0), "greater than or equal to"),
        (lambda: Positions(distances_m=()), "at least 1 item"),
    ],
)
def test_impossible_parameters_are_refused(make, message):
    with pytest.raises(ValidationError, match=message):
        make()


@pytest.mark.parametrize("choices", [FADINGS, PATH_LOSSES, PLACEMENTS, RADIOS])
def test_every_kind_is_listed_under_its_own_name(choices):
    for name, strategy in choices.items():
        assert strategy.model_fields["kind"].default == name
    assert list(choices) == sorted(choices)


def test_urban_micro_reads_units_and_writes_them():
    written = {"kind": "umi", "carrier": "3.5 GHz", "device_height": "2 m"}
    read = UrbanMicro.model_validate(written, context={"source": "yaml"})
    assert read == UrbanMicro(carrier_hz=3.5e9, device_height_m=2)
    assert read.model_dump(mode="json") == {**written, "base_height": "10 m"}
