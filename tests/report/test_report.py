"""Reports: what a page says and draws of runs and studies, finished or not."""

import json
import re
from html import unescape

import numpy as np
import pandas as pd
import pytest

import netsim as package
from netsim.channel.measured import read_capacity
from netsim.core.files import file_sha256
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
from netsim.errors import InputError
from netsim.trace.writer import Recorder
from tests.support import tiny_run
from tests.support.command import netsim
from tests.support.places import ROOT

pytest.importorskip("altair")
pytest.importorskip("vl_convert")

from netsim.report import html, libraries, pictures, study_speed, write_report
from netsim.report.page import Chart, Page, Section, Table
from netsim.report.run_bands import binned_use
from netsim.report.run_learning import short_names
from netsim.report.run_map import base_stations
from netsim.report.run_offered import offered_bps
from netsim.report.run_page import run_page
from netsim.report.run_time import client_shares
from netsim.report.sampling import SHOWN_ROUNDS, binned, shown_rounds, thinned
from netsim.report.study_costs import front
from netsim.report.study_data import StudyData
from netsim.report.study_page import study_page

S = tiny_run.S
UNICAST = "cell.downlink.mode=unicast", "cell.downlink.sharing=processor-sharing"
STUDY = """\
name: tiny
scenario: network-only
overrides: [stop.rounds=3, population.num_clients=6]
axes:
  - name: policy
    variants:
      - {name: coin}
      - {name: all, overrides: [server.sampling=full]}
  - {name: band, path: cell.uplink.band, values: [1 MHz, 2 MHz]}
seeds: [1, 2]
baseline: {policy: coin}
"""


@pytest.fixture
def run(tmp_path):
    return package.load_run(tiny_run.write_run(tmp_path / "tiny"))


@pytest.fixture(scope="module")
def study_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    (folder / "tiny.yaml").write_text(STUDY)
    return package.run_study(folder / "tiny.yaml", out=folder / "study").folder


@pytest.fixture(autouse=True)
def no_bundle(monkeypatch):
    """Leave the drawing script out, which takes seconds; a browser test has it."""
    monkeypatch.setattr("netsim.report.drawing_script", lambda: "/* vega */")


def played(folder, *overrides):
    return package.run("network-only", "stop.rounds=4", *overrides, out=folder)


def titles(page):
    return [section.title for section in page.sections]


def block(page, name):
    found = [b for s in page.sections for b in s.blocks if b.name == name]
    assert len(found) == 1, f"{name}: {len(found)}"
    return found[0]


def store(path):
    """Return the data within a page."""
    text = path.read_text()
    return json.loads(re.search(r'id="store">(.*?)</script>', text, re.S)[1])


def test_a_run_with_learning_has_its_answer_and_its_sections(run):
    page = run_page(run)
    assert page.headline == [
        "The best accuracy was 0.9, after 4.00 s (round 1).",
        "It ran for 1 round, 4.00 s.",
    ]
    facts = [(fact.value, fact.label) for fact in page.facts]
    assert facts[:3] == [
        ("4.00 s", "simulated time"),
        ("1", "rounds"),
        ("0.9", "accuracy at the end"),
    ]
    assert facts[-1] == ("2.4 J", "used by devices")
    assert titles(page) == [
        "How good, and when",
        "Where the time went",
        "One round at a time",
        "How full the bands were",
        "What merging loses",
        "Who took part",
        "Where the clients are",
    ]
    assert page.warnings == []


@pytest.mark.parametrize(
    ("level", "said"),
    [
        (0.8, "Accuracy 0.8 was reached after 4.00 s."),
        (0.95, "Accuracy 0.95 was not reached in 4.00 s."),
    ],
)
def test_the_target_is_the_headline(run, level, said):
    target = f"stop: {{target: {{metric: accuracy, level: {level}}}}}\n"
    path = run.folder / "scenario.yaml"
    path.write_text(target)
    digest = file_sha256(path)
    run.manifest.model_copy(update={"scenario_digest": digest}).write(run.folder)
    assert run_page(package.load_run(run.folder)).headline[0] == said


def test_levels_are_round_and_timed(run):
    rows = block(run_page(run), "levels").frame
    assert rows["level"].tolist() == [0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9]
    assert set(rows["time"]) == {"4.00 s"}


def test_the_gantt_has_every_phase_and_the_server(run):
    frame = block(run_page(run), "gantt").frames["gantt"]
    bars = frame[["who", "phase", "start", "end", "place"]]
    assert bars.to_numpy().tolist() == [
        ["client 7", "download", 0.0, 1.0, 0],
        ["client 8", "download", 0.0, 1.0, 1],
        ["client 7", "compute", 1.0, 2.0, 0],
        ["client 8", "compute", 1.0, 2.0, 1],
        ["client 7", "upload", 2.0, 3.0, 0],
        ["client 8", "upload", 2.0, 4.0, 1],
    ]
    assert frame["device"].tolist() == ["phone", "laptop"] * 3
    assert not frame["is_cut"].any()


def test_the_server_has_what_is_before_and_after_its_clients(run):
    run._frames["rounds"] = run.rounds.assign(end_ns=5 * S)
    run._frames["tasks"] = run.tasks.assign(status="late")
    frame = block(run_page(run), "gantt").frames["gantt"]
    server = frame[frame["phase"] == "server"]
    assert server[["start", "end"]].to_numpy().tolist() == [[4.0, 5.0]]
    assert frame.loc[frame["is_cut"], "phase"].tolist() == ["upload", "upload"]


def test_shares_of_clients_add_up_to_the_run(run):
    shares = client_shares(run)
    assert shares.loc[7].tolist()[2:] == [1.0, 1.0, 1.0, 1.0, 0.0]
    assert shares.loc[8].tolist()[2:] == [1.0, 1.0, 2.0, 0.0, 0.0]
    run._frames["tasks"] = run.tasks.iloc[:1]
    away = client_shares(run).loc[8]
    assert away["not taking part"] == 4.0


def test_band_use_is_averaged_over_each_bin(run):
    up = run.bands[run.bands["direction"] == "up"]
    edges = np.array([0, 1.5, 2.5, 4]) * S
    assert binned_use(up, edges).tolist() == pytest.approx([0, 0.5, 1])
    half = up.assign(allocated_uhz=[2 * tiny_run.HZ, 1 * tiny_run.HZ])
    assert binned_use(half, np.array([2, 4]) * S).tolist() == pytest.approx([0.75])


def test_the_rate_that_a_trace_offers_is_its_mean_over_each_span_of_its_laps():
    lap = pd.DataFrame(
        {
            "start_ns": [0, S],
            "end_ns": [S, 2 * S],
            "spectral_efficiency_nbit_s_hz": [2 * 10**9, 0],
        }
    )
    moments = np.array([0, 1, 2, 2.5, 4.5]) * S
    # of 10 Hz at 2 bit/s/Hz; the last span has two halves of a second with capacity
    assert offered_bps(lap, 10, moments).tolist() == pytest.approx([20, 0, 20, 10])


def test_a_measured_band_is_drawn_under_the_bands_in_use_and_by_round(tmp_path):
    trace = ROOT / "scenarios/traces/lte-like.up"
    radio = f"{{kind: measured, path: {trace}, reference_band: 5 MHz}}"
    package.run(
        "network-only",
        f"cell.uplink.radio={radio}",
        "cell.uplink.band=5 MHz",
        "stop.rounds=3",
        out=tmp_path / "run",
    )
    page = run_page(package.load_run(tmp_path / "run"))
    over_time = block(page, "offered").frames["offered"]
    by_round = block(page, "offered-rounds").frames["offered-rounds"]
    assert set(over_time["band"]) == {"uplink"}
    assert by_round["round_id"].tolist() == [1, 2, 3]
    mean_bps = read_capacity(trace, "mahimahi", 5e6).mean_efficiency_bit_s_hz * 5e6
    assert over_time["mbps"].mean() * 1e6 == pytest.approx(mean_bps, rel=0.2)


def test_several_cells_are_a_row_each(run):
    other = run.bands.assign(cell_id=1, allocated_uhz=0)
    run._frames["bands"] = pd.concat([run.bands, other], ignore_index=True)
    frame = block(run_page(run), "bands").frames["bands"]
    used = frame.groupby("who")["use"].mean()
    assert used.to_dict() == pytest.approx(
        {
            "cell 0 uplink": 0.5,
            "cell 0 downlink": 0.25,
            "cell 1 uplink": 0.0,
            "cell 1 downlink": 0.0,
        }
    )


def placed(station, *places, cell_id=0):
    x, y = np.array(places, dtype=float).T
    away = np.hypot(x - station[0], y - station[1])
    return pd.DataFrame({"cell_id": cell_id, "x_m": x, "y_m": y, "distance_m": away})


def test_base_stations_follow_from_distances():
    first = placed((100, -50), (0, 0), (10, 90), (200, -30), (60, 60))
    second = placed((-700, 0), (-600, 5), (-720, 80), (-650, -90), cell_id=1)
    found = base_stations(pd.concat([first, second]))
    assert found.to_numpy() == pytest.approx(np.array([[0, 100, -50], [1, -700, 0]]))
    assert base_stations(first.iloc[:2]).empty  # two circles meet twice
    assert base_stations(placed((0, 9), (1, 1), (2, 2), (3, 3))).empty  # on a line
    assert base_stations(first.assign(distance_m=[1, 900, 4, 70])).empty


def test_stations_that_are_recorded_are_shown_where_they_are(run):
    cells = pd.DataFrame({"cell_id": [0, 1], "x_m": [5.0, 90.0], "y_m": [0.0, -7.0]})
    run._frames["cells"] = cells.assign(name=["north", "south"])
    chart = block(run_page(run), "map")
    assert chart.frames["stations"].to_numpy().tolist() == [[0, 5, 0], [1, 90, -7]]
    assert chart.title == "The cells from above"


def test_shown_rounds_are_the_first_the_last_the_slowest_and_others():
    ids = np.arange(1, 1001)
    ends = ids * S + np.where(np.isin(ids, [123, 456]), S // 2, 0)
    rounds = pd.DataFrame({"round_id": ids, "start_ns": (ids - 1) * S, "end_ns": ends})
    shown = shown_rounds(rounds)
    assert len(shown) <= SHOWN_ROUNDS
    assert {1, 123, 456, 1000} <= set(shown)
    assert shown == sorted(set(shown))
    assert max(np.diff(shown)) < 60
    assert shown_rounds(rounds.iloc[:30]) == list(range(1, 31))


def test_thinning_keeps_both_ends_and_binning_equal_lengths():
    frame = pd.DataFrame({"n": range(1000)})
    assert thinned(frame, 3)["n"].tolist() == [0, 500, 999]
    assert len(thinned(frame, 2000)) == 1000
    assert binned(pd.Series([3, 4, 5, 6, 7]), 2).tolist() == [3, 3, 3, 6, 6]
    assert binned(pd.Series([1, 2]), 5).tolist() == [1, 2]


def test_without_learning_there_is_no_accuracy(tmp_path):
    page = run_page(played(tmp_path / "run"))
    assert titles(page) == [
        "Where the time went",
        "One round at a time",
        "How full the bands were",
        "Who took part",
        "Where the clients are",
    ]
    assert re.fullmatch(r"4 rounds in .* of simulated time\.", page.headline[0])
    path = block(page, "path").frames["path"]
    assert path["seconds"].sum() == pytest.approx(page_seconds(page))


def page_seconds(page):
    """Return the run's duration as the page's chooser says it."""
    lengths = block(page, "gantt").choosers[0].labels.values()
    return pytest.approx(sum(seconds(label) for label in lengths), rel=0.02)


def seconds(label):
    return float(re.search(r"([\d.]+) s", label)[1])


def test_a_buffered_server_has_no_last_client(tmp_path):
    server = "{kind: buffered, concurrency: 6, buffer_size: 3, merge_time: 20 ms}"
    page = run_page(played(tmp_path / "run", f"server={server}", *UNICAST))
    time = next(s for s in page.sections if s.title == "Where the time went")
    assert [b.name for b in time.blocks] == ["groups-device"]
    assert "does not wait for all" in time.text[0]
    frame = block(page, "groups-device").frames["groups-device"]
    assert "waiting" not in set(frame["phase"])
    assert frame.groupby("group")["share"].sum().tolist() == pytest.approx([1, 1])


def test_updates_that_count_later_leave_no_critical_path(run):
    run._frames["tasks"] = run.tasks.assign(staleness=1)
    time = next(s for s in run_page(run).sections if s.title == "Where the time went")
    assert [b.name for b in time.blocks] == ["groups-device"]


def test_a_deadline_leaves_crosses(tmp_path):
    server = (
        "{kind: deadline, deadline: 1500 ms, announce_time: 10 ms, merge_time: 20 ms, "
        "sampling: full}"
    )
    run = played(tmp_path / "run", f"server={server}")
    late = run.tasks[run.tasks["status"] == "late"]
    frame = block(run_page(run), "gantt").frames["gantt"]
    assert len(late) > 0
    assert frame["is_cut"].sum() == len(late)


def test_a_killed_run_says_unfinished(tmp_path):
    (tmp_path / "scenario.yaml").write_text("name: tiny\n")
    tiny_run.manifest(tmp_path).write(tmp_path)
    recorder = Recorder(tmp_path, flush_rows=2)
    tiny_run.record(recorder)  # and is never closed
    page = run_page(package.load_run(tmp_path))
    assert "unfinished" in page.warnings[0]
    path = write_report(tmp_path)
    assert path == tmp_path / "report.html"
    assert "This run is unfinished" in path.read_text()


def test_a_run_killed_at_once_still_has_a_page(tmp_path):
    (tmp_path / "scenario.yaml").write_text("name: tiny\n")
    tiny_run.manifest(tmp_path).write(tmp_path)
    page = run_page(package.load_run(tmp_path))
    assert page.sections == []
    assert page.headline == ["0 rounds in 0 ns of simulated time."]


def test_what_is_damaged_is_named_once(run, capsys):
    part = run.folder / "trace" / "tasks" / "part-00000.parquet"
    part.write_bytes(part.read_bytes()[:100])
    assert netsim("report", run.folder) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert "part-00000.parquet is damaged" in error
    assert not (run.folder / "report.html").exists()


def test_a_folder_that_is_neither_is_refused(tmp_path, capsys):
    assert netsim("report", tmp_path / "nowhere") == 2
    assert netsim("report", tmp_path) == 2
    assert netsim("report", tmp_path, "--out", tmp_path) == 2
    errors = capsys.readouterr().err.splitlines()
    assert "no run or study at" in errors[0]
    assert "is not a run" in errors[1]
    assert "--out: must be a file" in errors[2]


def test_without_the_drawing_library_one_message(run, capsys, monkeypatch):
    monkeypatch.setattr(libraries.importlib.util, "find_spec", lambda name: None)
    assert netsim("report", run.folder) == 2
    assert capsys.readouterr().err == (
        "netsim report needs altair and vl-convert-python: "
        "pip install -c constraints.txt -e '.[report]'\n"
    )


def test_the_command_says_where_the_page_is(run, tmp_path, capsys):
    out = tmp_path / "deep" / "page.html"
    assert netsim("report", run.folder, "--out", out) == 0
    assert capsys.readouterr().out.startswith(f"{out}: ")
    assert out.is_file()


def test_a_page_loads_nothing_and_comes_out_the_same(run, tmp_path):
    first = write_report(run.folder, tmp_path / "a.html").read_text()
    second = write_report(run.folder, tmp_path / "b.html").read_text()
    assert first == second
    assert not re.findall(r'(?:src|href)="(?!#|data:)', first)
    assert "default-src 'none'" in first


def test_data_of_a_page_is_that_of_its_charts(run):
    found = store(write_report(run.folder))
    assert found["frames"]["accuracy"]["time"] == [0.0, 4.0]
    assert found["frames"]["accuracy"]["accuracy"] == [0.5, 0.9]
    phases = found["frames"]["path"]["phase"]
    shown = [phases["words"][code] for code in phases["codes"]]
    assert shown == ["download", "compute", "upload", "server"]
    for chart in found["charts"].values():
        assert set(chart["frames"]) <= set(found["frames"])


def test_what_a_user_named_is_text_not_markup():
    evil = "</script><b>x</b>"
    frame = pd.DataFrame({"name": [evil]})
    chart = Chart("c", evil, {"mark": "bar"}, {"c": frame})
    table = Table("t", evil, frame, [], csv=frame)
    page = Page(evil, evil, [evil], [], [Section(evil, [evil], [chart, table])])
    text = html.rendered(page, "")
    assert text.count("</script>") == 3
    assert "<b>x" not in text
    found = json.loads(re.search(r'id="store">(.*?)</script>', text, re.S)[1])
    assert found["frames"]["c"]["name"]["words"] == [evil]


def test_a_number_that_is_none_is_null():
    frame = pd.DataFrame({"x": [1 / 3, float("nan"), float("inf")]})
    assert html._columns(frame) == {"x": [0.333333, None, None]}
    whole = pd.DataFrame({"n": pd.array([10**15 + 1, None], dtype="Int64")})
    assert html._columns(whole) == {"n": [10**15 + 1, None]}


def test_a_half_without_another_becomes_wide():
    def table(name, is_wide=False):
        return Table(name, "", pd.DataFrame(), [], is_wide=is_wide)

    blocks = [table("a"), table("b"), table("c"), table("d", True), table("e")]
    assert [b.is_wide for b in html._paired(blocks)] == [False, False, True, True, True]


def test_a_study_has_its_answer_its_charts_and_its_table(study_folder):
    page = study_page(package.load_study(study_folder))
    assert titles(page) == ["Who is faster", "What it costs", "All runs"]
    assert re.match(r"Soonest at the end: .*, 2 MHz, after", page.headline[0])
    assert page.subtitle == "a study of network-only · 4 combinations with 2 seeds each"
    assert (page.facts[0].value, page.warnings) == ("8 of 8", [])
    times = block(page, "times").frames["times"]
    assert len(times) == 8
    assert set(times["reached"]) == {"yes"}
    speed = block(page, "speedups").frames["speedups"]
    assert speed["variant"].tolist() == ["all, 1 MHz", "all, 2 MHz"]
    assert speed["x_low"].isna().all()  # of two seeds there is no interval
    assert any("fewer than 5 seeds" in line for line in page.sections[0].text)


def test_one_seed_and_a_tie_are_called_so(study_folder):
    data = StudyData.of(package.load_study(study_folder))
    first = data.study.summary.iloc[[0, 1]].assign(mean_time_s=2.0, num_seeds=1)
    data.study.summary = first.assign(num_reached=1)
    names = " and ".join(first["variant"])
    assert study_page(data.study).headline == [
        f"Soonest at the end, equal: {names}, after 2.00 s (one seed)."
    ]


def test_the_saved_table_is_the_studys(study_folder, tmp_path):
    found = store(write_report(study_folder, tmp_path / "r.html"))
    table = package.load_study(study_folder).table
    assert found["files"]["study"] == table.to_csv(index=False)


def test_pictures_are_the_charts_in_light_colours(run, tmp_path):
    folder = tmp_path / "pictures"
    write_report(run.folder, tmp_path / "r.html", pictures=folder)
    charts = [b for s in run_page(run).sections for b in s.blocks if hasattr(b, "spec")]
    assert sorted(path.stem for path in folder.iterdir()) == sorted(
        chart.name for chart in charts
    )
    bars = (folder / "path.svg").read_text()
    assert "var(" not in bars
    for word in ("download", "compute", "upload", "What made each round so long"):
        assert f">{word}<" in bars
    assert pictures.light_colours()["--upload"] in bars


def test_a_users_own_picture_is_not_overwritten(run, tmp_path, capsys):
    own = tmp_path / "mine" / "path.svg"
    own.parent.mkdir()
    own.write_text("<svg>my own</svg>")
    assert netsim("report", run.folder, "--pictures", own.parent) == 2
    assert f"--pictures {own} exists" in capsys.readouterr().err
    assert list(own.parent.iterdir()) == [own]
    assert own.read_text() == "<svg>my own</svg>"


def test_pictures_need_a_folder(run, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert netsim("report", run.folder, "--pictures", tmp_path / "file") == 2
    assert "is a file, not a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.88, 1.1, [0.9, 0.95, 1, 1.05, 1.1]),
        (0.86, 2.4, [1, 1.5, 2]),
        (0.1, 40, [0.1, 1, 10]),
        (1, 1, [1]),
    ],
)
def test_ticks_of_ratios_are_round_and_have_one(low, high, ticks):
    frame = pd.DataFrame({"x": [1.0], "x_low": [low], "x_high": [high]})
    assert study_speed._ratio_ticks(frame) == ticks


def test_layers_are_named_by_what_tells_them_apart():
    one, two = "vit.layers.0.attention.q_proj", "vit.layers.0.attention.v_proj"
    three = "vit.layers.11.attention.q_proj"
    assert short_names([one, two, three]) == {
        one: "0.q_proj",
        two: "0.v_proj",
        three: "11.q_proj",
    }
    assert short_names([one]) == {one: one}
    assert short_names([one, "head"]) == {one: one, "head": "head"}


def test_front_holds_the_points_that_no_other_beats():
    dots = pd.DataFrame({"x": [1, 2, 3, 2, 4], "y": [5, 3, 4, 6, 3]})
    assert front(dots, is_up=False)[["x", "y"]].to_numpy().tolist() == [[1, 5], [2, 3]]
    up = front(dots, is_up=True)[["x", "y"]].to_numpy().tolist()
    assert up == [[1, 5], [2, 6]]


def test_costs_are_among_all_and_among_like(study_folder):
    page = study_page(package.load_study(study_folder))
    chart = block(page, "energy")
    assert list(chart.choosers[0].labels) == ["all", "1 MHz", "2 MHz"]
    means = chart.frames["energy-means"]
    assert means["among"].value_counts().to_dict() == {"all": 4, "1 MHz": 2, "2 MHz": 2}


def test_curves_are_averaged_up_to_the_first_end(study_folder):
    study = package.load_study(study_folder)
    data = StudyData.of(study)
    common = {"variant": "coin, 1 MHz", "policy": "coin", "band": "1 MHz"}
    rows = [(1, 0, 0.0), (1, 10 * S, 1.0), (2, 0, 0.5), (2, 5 * S, 0.7), (2, 20 * S, 9)]
    curves = pd.DataFrame(rows, columns=["seed", "time_ns", "accuracy"])
    data.__dict__["curves"] = curves.assign(**common)
    found = data.mean_curves("accuracy")
    assert found["time_ns"].max() == 10 * S
    at = found.set_index("time_ns")[["mean", "low", "high"]]
    assert at.iloc[0].tolist() == [0.25, 0.0, 0.5]
    assert at.iloc[60].tolist() == pytest.approx([0.35, 0.0, 0.7])
    assert at.iloc[-1].tolist() == pytest.approx([0.85, 0.7, 1.0])


def test_an_unfinished_study_says_what_is_missing(study_folder):
    study = package.load_study(study_folder)
    table = study.table.copy()
    table.loc[7, ["status", "is_reached", "time_ns"]] = ["failed", pd.NA, pd.NA]
    study.__dict__["table"] = table.drop(index=[0])
    page = study_page(study)
    assert "6 of 8 runs are here" in page.warnings[0]
    assert page.warnings[1] == "1 run failed: all, 2 MHz seed 2."
    assert len(block(page, "times").frames["times"]) == 6


def test_a_study_of_which_only_the_baseline_is_finished_has_a_page(study_folder):
    study = package.load_study(study_folder)
    study.__dict__["table"] = study.table.query("policy == 'coin'")
    page = study_page(study)
    assert "4 of 8 runs are here" in page.warnings[0]
    assert block(page, "speedups").frames["speedups"].empty
    assert len(block(page, "times").frames["times"]) == 4


def test_a_study_with_nothing_finished_has_a_page(study_folder):
    study = package.load_study(study_folder)
    study.__dict__["table"] = study.table.iloc[:0]
    page = study_page(study)
    assert page.headline == ["No run is finished yet."]
    assert titles(page) == ["All runs"]


def test_a_study_without_its_file_is_refused(study_folder, tmp_path):
    (tmp_path / "study.parquet").write_bytes(
        (study_folder / "study.parquet").read_bytes()
    )
    with pytest.raises(InputError, match=r"cannot read .*study\.yaml"):
        write_report(tmp_path)


def test_text_of_a_page_is_what_was_meant(run):
    text = unescape(write_report(run.folder).read_text())
    assert "<code>netsim timeline</code>" not in text  # one round: all of them shown
    assert "Client 8 (laptop) was the last in 1 of 1 round;" in text


@pytest.mark.parametrize("name", ["asynchronous", "late-updates"])
def test_a_server_that_merges_the_stale_has_a_page(name, tmp_path):
    run_scenario(read_scenario(find_scenario(name)), tmp_path / "run")
    page = run_page(package.load_run(tmp_path / "run"))
    time = next(s for s in page.sections if s.title == "Where the time went")
    assert "does not wait for all" in time.text[0]
    frame = block(page, "groups-device").frames["groups-device"]
    assert ("waiting" in set(frame["phase"])) == (name == "late-updates")
