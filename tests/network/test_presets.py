"""Peak rates of the presets against the standards' own, and how a scenario uses one."""

import json
import math
from math import inf

import pytest

from netsim import load_run
from netsim.cosim.reading import parse_scenario
from netsim.cosim.run import run_scenario
from netsim.errors import InputError
from netsim.network.cell import Cell
from netsim.network.presets import presets
from netsim.scenario import dump
from netsim.scenario.loader import json_schema
from netsim.verify import verify

SCENARIO = """
name: named
stop: {{rounds: 2}}
server: {{kind: synchronous, sampling: full, announce_time: 10 ms, merge_time: 20 ms}}
population:
  num_clients: 6
  placement: {{kind: disc, radius: {radius}, min_distance: 10 m}}
  devices: [{{device: pixel-8}}]
cell: {cell}
learning: {{kind: none, download: 300 kB, upload: 300 kB, compute: 50 GFLOP}}
"""


def scenario(tmp_path, cell, radius="200 m"):
    return parse_scenario(SCENARIO.format(cell=cell, radius=radius), tmp_path)


def nr_bps(num_blocks, symbols_per_s, overhead):
    """TS 38.306 4.1.2 with one layer of 256-QAM and a scaling factor of one."""
    return 8 * 948 / 1024 * num_blocks * 12 * symbols_per_s * (1 - overhead)


# The most bits of one transport block, TS 36.213 Table 7.1.7.2.1-1, I_TBS 26.
LTE_BPS = {"lte-10mhz": 36_696 * 1000, "lte-20mhz": 75_376 * 1000}
# 802.11ac: VHT-MCS 9 at 80 MHz, 0.8 us; 802.11ax: HE-MCS 11; MAC efficiency of 0.7
PEAKS_BPS = {
    **{name: (rate, rate) for name, rate in LTE_BPS.items()},
    "nr-20mhz": (nr_bps(106, 14e3, 0.08), nr_bps(106, 14e3, 0.14)),
    "nr-100mhz": (
        nr_bps(273, 28e3, 0.08) * 16 / 70,
        nr_bps(273, 28e3, 0.14) * 52 / 70,
    ),
    "wifi-5": (0.7 * 390.0e6, 0.7 * 390.0e6),
    "wifi-6": (0.7 * 600.5e6, 0.7 * 600.5e6),
    "nb-iot": (1000 / 0.016, 680 / 0.025),
}


@pytest.mark.parametrize("name", presets())
def test_a_presets_peak_rates_are_its_standards(name):
    cell = Cell(preset=name)
    peaks_bps = PEAKS_BPS[name]
    for band, peak_bps in zip((cell.uplink, cell.downlink), peaks_bps, strict=True):
        assert band.radio.reference_band_hz == band.band_hz
        assert band.radio.rate_bps(1e30, band.band_hz) == pytest.approx(
            peak_bps, rel=0.1
        )
        assert band.radio.steps[-1][0] < inf
    assert cell.name == name
    assert presets()[name].source


def test_the_published_peak_of_an_nr_carrier_is_the_formulas():
    # 3GPP's formula at 100 MHz, 30 kHz, four layers down: the well-known 2.34 Gbit/s
    assert 4 * nr_bps(273, 28e3, 0.14) == pytest.approx(2.337e9, rel=1e-3)


@pytest.mark.parametrize("name", presets())
def test_a_run_in_a_named_cell_is_verified_and_its_scenario_is_whole(tmp_path, name):
    radius = "15 m" if name.startswith("wifi") else "200 m"
    found = scenario(tmp_path, f"{{preset: {name}, position: [0 m, 0 m]}}", radius)
    text = dump(found)
    assert "preset" not in text
    assert parse_scenario(text, tmp_path) == found
    run_scenario(found, tmp_path / "run")
    assert verify(tmp_path / "run") == []
    run = load_run(tmp_path / "run")
    assert (run.transfers.status == "done").all()


def test_own_keys_replace_the_presets_and_another_kind_replaces_a_whole_choice(
    tmp_path,
):
    cell = scenario(
        tmp_path,
        "{preset: lte-10mhz, name: mine, uplink: {sharing: tdma-first-come,"
        " radio: {overhead: 0.3}}, path_loss: {kind: umi, carrier: 2 GHz}}",
    ).cell
    assert cell.name == "mine"
    assert cell.uplink.sharing.kind == "tdma-first-come"
    assert cell.uplink.band_hz == 9e6
    assert (cell.uplink.radio.table, cell.uplink.radio.overhead) == ("lte-uplink", 0.3)
    assert cell.downlink == Cell(preset="lte-10mhz").downlink
    assert cell.path_loss.kind == "umi"
    fixed = scenario(tmp_path, "{preset: lte-10mhz, uplink: {radio: fixed-power}}").cell
    assert fixed.uplink.radio.kind == "fixed-power"


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("{preset: lte-10}", "cell.preset: unknown preset 'lte-10', did you mean"),
        ("{preset: 10}", "cell.preset: unknown preset 10"),
        ("{prest: lte-10mhz}", "unknown key 'prest', did you mean 'preset'"),
        ("{preset: nb-iot, uplink: {bnd: 1 MHz}}", "cell.uplink: unknown key 'bnd'"),
        ("{preset: nb-iot, uplink: null}", "cell.uplink: "),
    ],
)
def test_a_wrong_preset_is_named_with_its_line(tmp_path, cell, message):
    with pytest.raises(InputError, match=message) as error:
        scenario(tmp_path, cell)
    assert str(error.value).startswith("scenario:9:")


def test_the_schema_takes_a_preset_with_some_keys_or_a_whole_cell():
    jsonschema = pytest.importorskip("jsonschema")
    schema = json_schema(Cell)
    whole = json.loads(Cell(preset="wifi-6").model_dump_json(by_alias=True))
    for right in ({"preset": "wifi-6"}, whole, {"preset": "nb-iot", "name": "x"}):
        jsonschema.validate(right, schema)
    for wrong in ({"preset": "wifi-7"}, {"name": "x"}, {"preset": "wifi-6", "x": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


def sensitivity_dbm(radio, noise_figure_db, band_hz, place):
    """Return the power at which an entry of a radio's table begins."""
    snr_db = 10 * math.log10(radio.steps[place][0])
    return -174 + 10 * math.log10(band_hz) + noise_figure_db + snr_db


def test_rates_at_the_cell_edge_are_those_beside_published_ones():
    """results/validation/README.md has the published figures."""
    radio = Cell(preset="lte-20mhz").uplink.radio
    budgets = [(8, 0.5, 340), (27, -2.0, 717), (25, 0.9, 1064)]
    for num_blocks, snr_db, ours_kbps in budgets:
        cn0_hz = 10 ** (snr_db / 10) * radio.reference_band_hz
        rate_bps = radio.rate_bps(cn0_hz, num_blocks * 180e3)
        assert rate_bps / 1e3 == pytest.approx(ours_kbps, abs=0.5)
    assert 10 * math.log10(radio.steps[0][0]) == pytest.approx(-2.1, abs=0.05)
    for name, top_dbm in (("wifi-5", -60.5), ("wifi-6", -55.5)):
        radio = Cell(preset=name).uplink.radio
        ends = [sensitivity_dbm(radio, 7, 80e6, place) for place in (0, -1)]
        assert ends == pytest.approx([-84.4, top_dbm], abs=0.05)
    narrow = Cell(preset="nb-iot").uplink
    assert sensitivity_dbm(narrow.radio, 5, 180e3, 0) == pytest.approx(-118.5, abs=0.05)
    assert narrow.radio.steps[0][1] * narrow.band_hz == pytest.approx(5500, abs=50)
    for name, down_mbps, up_mbps in (("nr-20mhz", 2.3, 2.5), ("nr-100mhz", 8.9, 2.9)):
        for air, mbps in (
            (Cell(preset=name).downlink, down_mbps),
            (Cell(preset=name).uplink, up_mbps),
        ):
            least_bps = air.radio.steps[0][1] * air.band_hz
            assert least_bps / 1e6 == pytest.approx(mbps, abs=0.05)
