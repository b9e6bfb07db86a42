"""Scenarios under other speeds, bands and jitter: their times, ranges and order."""

import json

import pandas as pd
import pytest

from fl.contract import Work
from netsim.cosim import shipped
from netsim.cosim.reading import read_scenario
from netsim.errors import InputError
from netsim.runs.manifest import read_manifest
from netsim.study.factors import AS_IT_IS, HALVED_AND_DOUBLED, Factors, drawn, slower
from netsim.study.frames import load_study
from netsim.study.order import range_lines, sensitivity_lines
from netsim.study.what_if import FILE, answers
from tests.support.command import netsim

SHARING = """
name: tiny
scenario: network-only
overrides: [stop.rounds=2]
axes:
  - name: sharing
    variants:
      - {name: live, overrides: [cell.uplink.sharing=processor-sharing]}
      - {name: fixed, overrides: [cell.uplink.sharing=equal-fixed]}
seeds: [1]
baseline: {sharing: live}
"""


def scenario(*overrides):
    return read_scenario(shipped.FOLDER / "network-only.yaml", overrides)


def test_a_slower_device_is_slower_in_every_term():
    work = Work(10**9, 10**8, 10**6, 10**6, 100, 3)
    device = (
        scenario()
        .population.devices[0]
        .device.model_copy(
            update={
                "half_rate_flop_per_s": 1e9,
                "product_bandwidth_bytes_per_s": 1e8,
                "other_bandwidth_bytes_per_s": 1e8,
                "launch_time_s": 1e-3,
            }
        )
    )
    assert slower(device, 2.5).compute_time_s(work) == pytest.approx(
        2.5 * device.compute_time_s(work)
    )


def test_factors_multiply_what_they_name_and_nothing_else():
    before = scenario()
    after = Factors("both", {"raspberry-pi-5-timm": 4.0}, band=0.5, jitter=2.0).of(
        before
    )
    work = Work(10**9, steps=1)
    pi, nano = (
        later.device.compute_time_s(work) / one.device.compute_time_s(work)
        for one, later in zip(
            before.population.devices, after.population.devices, strict=True
        )
    )
    assert (pi, nano) == (pytest.approx(4.0), 1.0)
    assert after.cell.uplink.band_hz == before.cell.uplink.band_hz / 2
    assert after.population.compute_jitter == 2 * before.population.compute_jitter
    assert Factors(AS_IT_IS).of(before) == before


def test_eight_of_ten_draws_lie_within_the_doubt_and_kinds_share_them():
    sets = drawn([scenario()])
    for choice in scenario().population.devices:
        device = choice.device
        factors = [one.slowness[device.name] for one in sets]
        inside = [1 / device.doubt <= factor <= device.doubt for factor in factors]
        assert sum(inside) == 8
    alone = drawn([scenario("population.devices=[{device: raspberry-pi-5-timm}]")])
    name = "raspberry-pi-5-timm"
    assert [d.slowness[name] for d in alone] == [d.slowness[name] for d in sets]


def test_a_device_without_doubt_has_no_range():
    one = scenario()
    choice = one.population.devices[0]
    device = choice.device.model_copy(update={"doubt": None, "name": "mine"})
    population = one.population.model_copy(
        update={"devices": (choice.model_copy(update={"device": device}),)}
    )
    with pytest.raises(InputError, match=r"mine states no doubt.*add `doubt`"):
        drawn([one.model_copy(update={"population": population})])


def frame(**times):
    rows = [
        {"factors": factors, "variant": variant, "seed": 1, "target": "the end"}
        | {"is_reached": True, "time_ns": round(s * 1e9), "scenario": ""}
        for factors, of_variants in times.items()
        for variant, s in of_variants.items()
    ]
    return pd.DataFrame(rows).replace({"factors": {"as_it_is": AS_IT_IS}})


def test_pairs_that_swap_are_named_with_how_far_they_were_apart():
    table = frame(
        as_it_is={"a": 10, "b": 11, "c": 20},
        slow={"a": 20, "b": 22, "c": 40},
        wide={"a": 10, "b": 9, "c": 9.5},
    )
    alike = dict.fromkeys("abc", "a")
    assert list(sensitivity_lines(table, alike)) == [
        "to the end: a 10 s < b 11 s < c 20 s",
        "  slow: the order stays",
        "  wide: 2 of 3 pairs swap: b before a, c before a (at most 100.0% apart)",
    ]
    apart = list(sensitivity_lines(table, {"a": "a", "b": "a", "c": "c"}))
    assert apart[0] == "to the end, compared with a: a 10 s < b 11 s"
    assert apart[3:] == [
        "to the end, compared with c: c 20 s",
        "  slow: nothing to order",
        "  wide: nothing to order",
    ]


def test_a_range_is_that_of_four_draws_in_five():
    alike = dict.fromkeys("ab", "a")
    draws = {f"draw {n}": {"a": n, "b": 5.5} for n in range(1, 11)}
    lines = list(range_lines(frame(as_it_is={"a": 5, "b": 5.5}, **draws), alike))
    assert lines == [
        "to the end",
        "  a: 5 s, 80% within 1.9 to 9.1 s",
        "  b: 5.5 s, 80% within 5.5 to 5.5 s",
        "  the order stays in 5 of 10 draws; else up to 1 of 1 pairs swap: b before a "
        "(at most 10.0% apart)",
    ]


@pytest.mark.slow
def test_a_study_says_whether_its_order_survives(tmp_path, capsys):
    path, folder = tmp_path / "study.yaml", tmp_path / "study"
    path.write_text(SHARING)
    assert netsim("study", path, "--out", folder, "--quiet", "--sensitivity") == 0
    printed = capsys.readouterr()
    assert "6 x 2 runs with other factors: nothing is trained" in printed.err
    assert printed.out.count("the order stays") == len(HALVED_AND_DOUBLED)
    table = pd.read_parquet(folder / FILE)
    twice = table[(table.factors == "band x 2") & (table.variant == "live")]
    run = tmp_path / "run"
    band = ("cell.uplink.band=10 MHz", "cell.downlink.band=20 MHz", "stop.rounds=2")
    sets = [word for one in band for word in ("--set", one)]
    assert netsim("run", "network-only", *sets, "--quiet", "--out", run) == 0
    assert twice.time_ns.tolist() == [read_manifest(run).sim_time_ns]
    capsys.readouterr()
    assert answers(load_study(folder)) == printed.out.splitlines()[-7:]
    before = sorted((folder / FILE).read_bytes())
    assert netsim("study", path, "--out", folder, "--quiet", "--sensitivity") == 0
    assert capsys.readouterr().out == printed.out  # from what is on disk
    assert sorted((folder / FILE).read_bytes()) == before


@pytest.mark.slow
def test_ranges_of_runs_are_compared_draw_by_draw(tmp_path, capsys):
    folders = [tmp_path / "few", tmp_path / "many"]
    for folder, num in zip(folders, (2, 12), strict=True):
        args = ("--set", f"stop.rounds={num}", "--quiet", "--range", "--json")
        assert netsim("run", "network-only", *args, "--out", folder) == 0
        printed = capsys.readouterr().out
        assert "80% within" in printed
        assert json.loads(printed.splitlines()[-1])["rounds"] == num
    assert netsim("compare", *folders) == 0
    printed = capsys.readouterr().out
    assert "80% within" in printed
    assert "to the end: the order stays in 10 of 10 draws" in printed
