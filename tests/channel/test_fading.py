import math

import numpy as np
import pytest

from netsim import load_run
from netsim.channel import (
    FixedPowerRadio,
    NoFading,
    PerHertzRadio,
    RayleighBlock,
    RayleighFast,
    RicianBlock,
)
from netsim.channel.averaged import (
    AveragedRadio,
    efficiencies_nbit,
    mean_log1p,
    scaled_e1,
)
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
from netsim.verify import verify

MS = 10**6
RADIOS = [
    FixedPowerRadio(gap_db=2.0, max_efficiency_bit_s_hz=4.0),
    PerHertzRadio(reference_band_hz=1e6, gap_db=3.0),
]


def gains(fading, num_blocks, seed=7):
    return np.array(
        [fading.gain(seed, "up", 3, block * 10 * MS)[0] for block in range(num_blocks)]
    )


def rician(k_factor_db):
    return RicianBlock(coherence_time_s=0.01, k_factor_db=k_factor_db)


def rician_rate(sight, snr):
    """E[ln(1 + g snr)] as a Poisson mixture of gamma gains, by SciPy."""
    special = pytest.importorskip("scipy.special")
    integrate = pytest.importorskip("scipy.integrate")

    def density(g):
        argument = 2 * math.sqrt(sight * (sight + 1) * g)
        exponent = argument - sight - (sight + 1) * g
        return (sight + 1) * math.exp(exponent) * special.i0e(argument)

    def rate(g):
        return density(g) * math.log1p(g * snr)

    return integrate.quad(rate, 0, 60, points=[1.0], limit=400)[0]


@pytest.mark.parametrize("k_factor_db", [-10, 0, 6])
def test_a_rician_gain_has_mean_one_and_the_variance_of_its_factor(k_factor_db):
    sight = 10 ** (k_factor_db / 10)
    sample = gains(rician(k_factor_db), 20_000)
    # Var = (1 + 2 K) / (1 + K)^2 (the amount of fading: Simon and Alouini, Digital
    # Communication over Fading Channels, Table 2.2).
    variance = (1 + 2 * sight) / (1 + sight) ** 2
    assert sample.mean() == pytest.approx(1, abs=4 * math.sqrt(variance / 20_000))
    assert sample.var() == pytest.approx(variance, rel=0.08)
    assert sample.min() >= 0


def test_a_strong_sight_leaves_no_fading_and_none_leaves_rayleigh():
    assert gains(rician(100), 50) == pytest.approx(np.ones(50), abs=1e-4)
    scattered = gains(RayleighBlock(coherence_time_s=0.01), 50)
    assert gains(rician(-100), 50) == pytest.approx(scattered, abs=1e-4)


def test_rician_blocks_change_at_the_coherence_time():
    fading = rician(3)
    first, change_ns = fading.gain(7, "up", 3, 0)
    assert change_ns == 10 * MS
    assert fading.gain(7, "up", 3, 10 * MS - 1) == (first, 10 * MS)
    assert fading.gain(7, "up", 3, 10 * MS)[0] != first
    assert fading.gain(7, "up", 4, 0)[0] != first != fading.gain(7, "down", 3, 0)[0]


@pytest.mark.parametrize("k_factor_db", [-10.0, 0.0, 6.0, 12.0])
@pytest.mark.parametrize("snr", [0.01, 1.0, 30.0, 1e4])
def test_the_effective_rician_gain_gives_the_mean_rate(k_factor_db, snr):
    fading = rician(k_factor_db)
    effective = fading.effective_gain(snr)
    expected = rician_rate(10 ** (k_factor_db / 10), snr)
    assert math.log1p(snr * effective) == pytest.approx(expected, rel=3e-3)
    sampled = np.log1p(gains(fading, 20_000) * snr)
    error = 4 * sampled.std() / math.sqrt(len(sampled))
    assert math.log1p(snr * effective) == pytest.approx(
        sampled.mean(), abs=error + 3e-3 * sampled.mean()
    )


@pytest.mark.parametrize(
    "fading",
    [RayleighBlock(coherence_time_s=0.01), rician(0), rician(8), rician(40)],
)
@pytest.mark.parametrize("snr_db", [10.0, 24.0, 40.0])
def test_the_cap_stands_inside_the_mean_rate(fading, snr_db):
    """At 24 dB under 7.4 bit/s/Hz the capped mean rate of Rayleigh fading is 6.69; the
    mean without the cap, 7.26, is below the cap itself and 8.6 % too much."""
    snr, cap = 10 ** (snr_db / 10), 7.4 * math.log(2)
    sampled = np.minimum(np.log1p(gains(fading, 40_000) * snr), cap)
    planned = math.log1p(snr * fading.effective_gain(snr, cap))
    error = 4 * sampled.std() / math.sqrt(len(sampled))
    assert planned == pytest.approx(sampled.mean(), abs=error + 1e-3 * sampled.mean())
    assert planned <= cap * (1 + 1e-12)


def test_the_capped_mean_rate_of_rayleigh_fading_is_its_closed_form():
    snr, cap = 10**2.4, 7.4 * math.log(2)
    exact = mean_log1p(snr, cap)
    fast = math.log1p(snr * RayleighFast().effective_gain(snr, cap))
    block = math.log1p(snr * RayleighBlock(coherence_time_s=1).effective_gain(snr, cap))
    assert fast == pytest.approx(exact, rel=1e-12)
    assert block == pytest.approx(exact, rel=1e-3)
    assert mean_log1p(snr) / exact == pytest.approx(1.086, abs=0.001)


@pytest.mark.parametrize("fading", [rician(3), RayleighFast()])
def test_many_effective_gains_are_those_of_each(fading):
    snr = np.array([1e-6, 0.3, 20.0, 1e5])
    one_by_one = [fading.effective_gain(float(one)) for one in snr]
    assert fading.effective_gains(snr) == pytest.approx(one_by_one, rel=1e-12)
    capped = [fading.effective_gain(float(one), 3.0) for one in snr]
    assert fading.effective_gains(snr, 3.0) == pytest.approx(capped, rel=1e-12)
    assert one_by_one[0] == pytest.approx(1, rel=1e-3)  # the mean gain
    assert one_by_one == sorted(one_by_one, reverse=True)


def test_the_exponential_integral_by_abramowitz_and_stegun():
    # Table 5.1: E1(0.01), E1(0.1), E1(1), E1(2); and x exp(x) E1(x) at 10, Table 5.2
    for x, e1 in (
        (0.01, 4.0379295765),
        (0.1, 1.8229239584),
        (1.0, 0.2193839344),
        (2.0, 0.0489005107),
    ):
        assert scaled_e1(x) == pytest.approx(math.exp(x) * e1, rel=2e-9)
    assert 10 * scaled_e1(10) == pytest.approx(0.9156333394, rel=1e-9)


@pytest.mark.parametrize("x", [1e-9, 1e-3, 0.5, 1.0, math.nextafter(1, 2), 1.5, 7, 1e5])
def test_the_exponential_integral_by_scipy(x):
    special = pytest.importorskip("scipy.special")
    expected = special.exp1(x) * math.exp(x) if x < 100 else 1 / x - 1 / x**2
    assert scaled_e1(x) == pytest.approx(expected, rel=1e-9 if x > 100 else 1e-13)


@pytest.mark.parametrize("snr", [1e-13, 1e-3, 1.0, 100.0, 1e7])
@pytest.mark.parametrize("cap", [math.inf, 5.0, 0.1])
def test_the_mean_rate_by_quadrature(snr, cap):
    probability = (np.arange(200_000) + 0.5) / 200_000
    rates = np.minimum(np.log1p(-np.log(probability) * snr), cap)
    assert mean_log1p(snr, cap) == pytest.approx(rates.mean(), rel=2e-5)


@pytest.mark.parametrize("radio", RADIOS, ids=lambda radio: radio.kind)
@pytest.mark.parametrize("cn0_hz", [1e4, 1e6, 1e8])
def test_fast_fading_is_the_mean_over_block_fading(radio, cn0_hz):
    sample = gains(RayleighBlock(coherence_time_s=0.01), 20_000)
    rates_bps = np.array([radio.rate_bps(cn0_hz * g, 2e5) for g in sample])
    fast = RayleighFast().effective_radio(radio)
    error_bps = 4 * rates_bps.std() / math.sqrt(len(rates_bps))
    assert fast.rate_bps(cn0_hz, 2e5) == pytest.approx(rates_bps.mean(), abs=error_bps)
    assert fast.efficiency_nbit(cn0_hz, 2 * 10**11) == pytest.approx(
        fast.rate_bps(cn0_hz, 2e5) / 2e5 * 1e9, abs=1
    )


@pytest.mark.parametrize("radio", RADIOS, ids=lambda radio: radio.kind)
def test_the_share_for_a_rate_under_fast_fading(radio):
    fast = AveragedRadio(radio)
    for rate_bps in (1e3, 1e5, 1e6):
        share_hz = fast.share_hz_for_rate(1e6, rate_bps)
        if math.isinf(share_hz):
            assert radio.share_hz_for_rate(1e6, rate_bps) == math.inf
            continue
        assert fast.rate_bps(1e6, share_hz) == pytest.approx(rate_bps, rel=1e-9)
        assert share_hz >= radio.share_hz_for_rate(1e6, rate_bps)
    assert fast.share_hz_for_rate(1e6, 0.0) == 0
    assert fast.rate_bps(0.0, 1e6) == fast.rate_bps(1e6, 0.0) == 0
    assert fast.efficiency_nbit(1e6, 0) > 0


def test_only_fast_fading_changes_the_radio():
    block = RayleighBlock(coherence_time_s=1.0)
    for fading in (NoFading(), block, rician(3)):
        assert fading.effective_radio(RADIOS[0]) is RADIOS[0]
    assert RayleighFast().gain(1, "up", 2, 3) == (1.0, None)


@pytest.mark.parametrize(
    "fading", ["rayleigh-fast", "{kind: rician, k_factor: 6 dB, coherence_time: 1 s}"]
)
def test_a_run_under_each_fading_passes_its_audit(fading, tmp_path):
    scenario = read_scenario(
        find_scenario("network-only"), (f"cell.fading={fading}", "stop.rounds=2")
    )
    run_scenario(scenario, tmp_path / "run")
    assert verify(tmp_path / "run") == []
    run = load_run(tmp_path / "run")
    if scenario.cell.fading.kind == "rician":
        return
    # power per hertz: the efficiency is the mean one, at any share of the band
    snr = 10 ** (run.clients.mean_snr_db.iloc[0] / 10)
    radio = scenario.cell.uplink.radio
    efficiency = mean_log1p(
        snr / 10 ** (radio.gap_db / 10), radio.max_efficiency_bit_s_hz * math.log(2)
    ) / math.log(2)
    uplink = run.transfers[
        (run.transfers.client_id == run.clients.client_id.iloc[0])
        & (run.transfers.direction == "up")
    ].transfer_id
    seen = run.segments[run.segments.transfer_id.isin(uplink)]
    assert len(seen) > 0
    assert seen.spectral_efficiency_nbit_s_hz.to_numpy() == pytest.approx(
        efficiency * 1e9, abs=1
    )


@pytest.mark.parametrize("ceiling", [0.5, 7.4])
def test_many_averaged_efficiencies_at_once_are_those_of_each(ceiling):
    radio = AveragedRadio(
        PerHertzRadio(
            reference_band_hz=1e6, gap_db=3.0, max_efficiency_bit_s_hz=ceiling
        )
    )
    cn0s_hz = [0.0, *np.logspace(-9, 14, 500).tolist()]
    due = [radio.efficiency_nbit(cn0_hz, 1) for cn0_hz in cn0s_hz]
    assert efficiencies_nbit(radio, cn0s_hz) == due
