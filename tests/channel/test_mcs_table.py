"""Thresholds by hand, means in closed form, and a plan against the simulated rate."""

import csv
import math
from typing import Literal

import numpy as np
import pytest

from netsim import load_run
from netsim.channel import (
    FADINGS,
    McsTableRadio,
    NoFading,
    RayleighBlock,
    RayleighFast,
    RicianBlock,
)
from netsim.channel.effective import effective_cn0_hz, effective_cn0s_hz, planned_radio
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
from netsim.errors import InputError
from netsim.scenario import Record
from netsim.verify import verify
from tests.support.places import ROOT

BAND_HZ = 1e6
RADIO = McsTableRadio(reference_band_hz=BAND_HZ)
GAP = -math.log(5 * 5e-5) / 1.5  # 5.529, 7.43 dB
RAYLEIGH = RayleighBlock(coherence_time_s=0.01)
RICIAN = RicianBlock(coherence_time_s=0.01, k_factor_db=6)
# TS 36.213 Table 7.2.3-1 and TS 38.214 Table 5.2.2.1-3, as printed
CQI_64QAM = (
    *(0.1523, 0.2344, 0.3770, 0.6016, 0.8770, 1.1758, 1.4766, 1.9141),
    *(2.4063, 2.7305, 3.3223, 3.9023, 4.5234, 5.1152, 5.5547),
)
CQI_256QAM = (
    *(0.1523, 0.3770, 0.8770, 1.4766, 1.9141, 2.4063, 2.7305, 3.3223),
    *(3.9023, 4.5234, 5.1152, 5.5547, 6.2266, 6.9141, 7.4063),
)
# 802.11-2020 Table 21-37 and 802.11ax Table 27-105: Mbit/s of one stream in 80 MHz,
# guard interval 0.8 us, over 234 subcarriers in 4 us and 980 in 13.6 us
VHT_MBPS = (29.3, 58.5, 87.8, 117.0, 175.5, 234.0, 263.3, 292.5, 351.0, 390.0)
HE_MBPS = (
    *(36.0, 72.1, 108.1, 144.1, 216.2, 288.2),
    *(324.3, 360.3, 432.4, 480.4, 540.4, 600.5),
)


class Known(Record):
    """A user's fading that is half and half 0.5 and 1.5, without its distribution."""

    kind: Literal["two-point"] = "two-point"

    def gain(self, seed, direction, client_id, now_ns):
        return 1.0, None

    def effective_gain(self, snr, cap=math.inf):
        return 1.0

    def effective_gains(self, snr, cap=math.inf):
        return np.ones_like(snr)

    def effective_radio(self, radio):
        return radio


@pytest.mark.parametrize(
    ("table", "printed"),
    [
        ("cqi-64qam", CQI_64QAM),
        ("cqi-256qam", CQI_256QAM),
        # TS 36.213 Table 7.1.7.2.1-1, 50 blocks at I_TBS 0 and 26, MCS 0 and 28
        ("lte-uplink", [1384 / 9000, *[None] * 13, 36696 / 9000]),
        ("lte-downlink", [1384 / 9000, *[None] * 13, 36696 / 9000]),
        ("wifi-256qam", [rate * 4 / 234 for rate in VHT_MBPS]),
        ("wifi-1024qam", [rate * 13.6 / 980 for rate in HE_MBPS]),
        ("nb-iot-uplink", [88 / 576, *[None] * 11, 1000 / 576]),
    ],
)
def test_a_table_has_the_entries_that_its_standard_prints(table, printed):
    radio = McsTableRadio(reference_band_hz=BAND_HZ, table=table)
    efficiencies = [efficiency for _, efficiency in radio.steps]
    assert len(efficiencies) == len(printed)
    assert efficiencies == sorted(efficiencies)
    for found, right in zip(efficiencies, printed, strict=True):
        assert right is None or found == pytest.approx(right, abs=1e-3)


@pytest.mark.parametrize("entry", range(15))
def test_an_entry_begins_where_shannon_behind_the_gap_reaches_it(entry):
    threshold = GAP * (2 ** CQI_64QAM[entry] - 1)
    below = CQI_64QAM[entry - 1] if entry else 0.0
    for share_hz in (1.0, BAND_HZ):
        rates_bps = [
            RADIO.rate_bps(threshold * factor * BAND_HZ, share_hz)
            for factor in (0.999, 1.001)
        ]
        assert rates_bps == pytest.approx(
            [below * share_hz, CQI_64QAM[entry] * share_hz], abs=1e-4 * share_hz
        )
        assert RADIO.efficiency_nbit(
            threshold * 1.001 * BAND_HZ, round(share_hz * 1e6)
        ) == round(rates_bps[1] / share_hz * 1e9)


def test_the_lowest_entry_is_at_minus_two_decibels_and_the_highest_at_24():
    levels = [10 * math.log10(snr) for snr, _ in RADIO.steps]
    # 7.427 dB of gap; 2^0.1523 - 1 = 0.1113 is -9.53 dB, 2^5.5547 - 1 = 46 is 16.63 dB
    assert levels[0] == pytest.approx(-2.11, abs=0.01)
    assert levels[-1] == pytest.approx(24.05, abs=0.01)
    assert RADIO.gap_db == pytest.approx(7.427, abs=1e-3)


def test_overhead_takes_its_part_of_each_entry_and_moves_no_threshold():
    radio = McsTableRadio(reference_band_hz=BAND_HZ, overhead=0.2)
    for (snr, efficiency), (same_snr, whole) in zip(
        radio.steps, RADIO.steps, strict=True
    ):
        assert snr == same_snr
        assert efficiency == pytest.approx(0.8 * whole, rel=1e-15)
    assert radio.max_efficiency_bit_s_hz == pytest.approx(4.44376, abs=1e-4)
    assert radio.share_hz_for_rate(1e12, radio.max_efficiency_bit_s_hz * 3) == 3.0
    assert radio.share_hz_for_rate(1.0, 1.0) == math.inf


def test_the_mean_of_a_step_is_its_height_times_the_chance_to_reach_it():
    for snr in (0.5, 4.0, 30.0, 1e4):
        by_hand = sum(
            (CQI_64QAM[k] - (CQI_64QAM[k - 1] if k else 0.0))
            * math.exp(-GAP * (2 ** CQI_64QAM[k] - 1) / snr)
            for k in range(15)
        )
        cn0_hz = snr * BAND_HZ
        planned_hz = effective_cn0_hz(
            cn0_hz, radio=RADIO, band_hz=BAND_HZ, fading=RAYLEIGH
        )
        mean_bps = planned_radio(RADIO).rate_bps(planned_hz, 1.0)
        assert mean_bps == pytest.approx(by_hand, abs=1e-4)
        fast = RayleighFast().effective_radio(RADIO)
        assert fast.rate_bps(cn0_hz, 1.0) == pytest.approx(mean_bps, rel=1e-12)
        assert fast.efficiency_nbit(cn0_hz, 1) == pytest.approx(mean_bps * 1e9, abs=1)
        assert fast.share_hz_for_rate(cn0_hz, 5 * mean_bps) == pytest.approx(5.0)


@pytest.mark.parametrize("fading", [NoFading(), RAYLEIGH, RICIAN])
def test_a_plan_takes_the_mean_over_the_gains_that_are_drawn(fading):
    drawn = [fading.gain(3, "up", 0, n * 10**7)[0] for n in range(20_000)]
    for snr in (2.0, 20.0, 150.0):
        simulated = np.mean([RADIO.rate_bps(g * snr * BAND_HZ, 1.0) for g in drawn])
        planned_hz = effective_cn0s_hz(
            np.array([snr * BAND_HZ]), radio=RADIO, band_hz=BAND_HZ, fading=fading
        )
        mean_bps = planned_radio(RADIO).rate_bps(float(planned_hz[0]), 1.0)
        assert mean_bps == pytest.approx(simulated, rel=0.015)


@pytest.mark.parametrize("k_factor_db", [-20, 0, 10, 60])
def test_the_probability_of_a_gain_is_that_of_the_noncentral_distribution(k_factor_db):
    special = pytest.importorskip("scipy.stats")
    sight = 10 ** (k_factor_db / 10)
    levels = np.array([0.01, 0.3, 1.0, 1.7, 4.0])
    exact = special.ncx2.sf(2 * (sight + 1) * levels, 2, 2 * sight)
    fading = RicianBlock(coherence_time_s=1, k_factor_db=k_factor_db)
    assert fading.probability_above(levels) == pytest.approx(exact, abs=2e-3)


TABLE = "{kind: mcs-table, reference_band: 5 MHz, overhead: 0.2}"
WITH_TABLE = (
    f"cell.uplink.radio={TABLE}",
    "cell.downlink.radio={kind: mcs-table, reference_band: 10 MHz, overhead: 0.25}",
    "cell.downlink.transmit_power=50 dBm",
    "population.transmit_power=40 dBm",
    "stop.rounds=4",
)


@pytest.mark.parametrize("fading", FADINGS)
@pytest.mark.parametrize("sharing", ["processor-sharing", "equal-finish"])
def test_a_run_with_a_table_is_verified(tmp_path, fading, sharing):
    settings = {
        "rayleigh": "{kind: rayleigh, coherence_time: 50 ms}",
        "rician": "{kind: rician, coherence_time: 50 ms, k_factor: 6 dB}",
    }
    rules = (
        *WITH_TABLE,
        f"cell.fading={settings.get(fading, fading)}",
        f"cell.uplink.sharing={sharing}",
    )
    run_scenario(read_scenario(find_scenario("network-only"), rules), tmp_path / "run")
    assert verify(tmp_path / "run") == []
    seen = set(load_run(tmp_path / "run").segments.spectral_efficiency_nbit_s_hz)
    entries = {round(f * one * 1e9) for f in (0.8, 0.75) for _, one in RADIO.steps}
    assert seen <= entries | {0} or fading == "rayleigh-fast"


def test_a_client_below_the_lowest_entry_is_in_outage_until_the_timeout(tmp_path):
    rules = (
        *WITH_TABLE,
        "cell.fading={kind: rayleigh, coherence_time: 1 s}",
        "cell.uplink.outage_timeout=900 ms",
        "population.transmit_power=23 dBm",
        "server.sampling=full",
        "stop.rounds=1",
    )
    run_scenario(read_scenario(find_scenario("network-only"), rules), tmp_path / "run")
    assert verify(tmp_path / "run") == []
    transfers = load_run(tmp_path / "run").transfers
    assert "outage" in set(transfers[transfers.direction == "up"].status)


def test_a_table_that_nobody_reaches_and_a_fading_without_distribution_are_refused(
    tmp_path,
):
    scenario = find_scenario("network-only")
    far = (*WITH_TABLE, "cell.fading=none", "population.transmit_power=-60 dBm")
    with pytest.raises(InputError, match="never arrive, below the lowest entry"):
        run_scenario(read_scenario(scenario, far), tmp_path / "run")
    unknown = "cell.fading=tests.channel.test_mcs_table:Known"
    with pytest.raises(InputError, match="probability_above"):
        read_scenario(scenario, (*WITH_TABLE, unknown))
    wrong = "{kind: mcs-table, reference_band: 1 MHz, bit_error_rate: 0.1}"
    with pytest.raises(InputError, match=r"bit_error_rate: .*0.04"):
        read_scenario(scenario, (f"cell.uplink.radio={wrong}",))


def test_uplink_rates_are_those_that_ns3_schedules_at_thirty_snrs():
    # written by tests/benchmarks/ns3/amc.py; a CQI is sent as scheme 0, 2, ... 28
    with (ROOT / "results/validation/ns3/amc.csv").open() as file:
        rows = list(csv.DictReader(file))
    radio = McsTableRadio(reference_band_hz=9e6, table="lte-uplink")
    rates = [one for _, one in radio.steps]
    num_near, others = 0, []
    for row in rows:
        rate = radio.rate_bps(10 ** (float(row["snr_db"]) / 10) * 9e6, 9e6) / 9e6
        scheme = 2 * rates.index(rate) if rate else 0
        num_near += abs(scheme - int(row["scheme"])) <= 1
        others.append(rate * 9_000 - int(row["bits_per_ms"]))
    assert len(rows) == 30
    assert num_near >= 28
    assert others == pytest.approx([0.0] * 30, abs=1e-6)
