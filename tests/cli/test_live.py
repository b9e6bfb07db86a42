"""What a run shows while it goes on: to people at 80 columns, and to other programs."""

import io
import json

import pytest
from rich.console import Console

from fl.contract import LayerError, Score
from netsim.cli.live import LiveView
from netsim.cli.spectators import JsonLines, all_of, scalars
from netsim.learner.stop import Stop
from netsim.server.phase import Phase
from netsim.server.stage import Progress
from tests.support.command import netsim

S = 10**9
MANY = Stop(rounds=1000, time_s=1e6)
QUICK = ("quickstart", "--set", "stop.rounds=2", "--set=population.num_clients=4")


def view(stop=MANY, columns=80, file=None):
    console = Console(width=columns, file=file or io.StringIO(), color_system=None)
    return LiveView(console, stop, "a-scenario", is_quiet=True, _started_s=0.0)


def evaluated(round_id, now_ns, accuracy=0.912, **more):
    score = Score("test", 100, 0.3, accuracy)
    own = Score("local-personal", 10, 0.1, 0.99, client_id=3)
    return Progress(round_id, now_ns, 10, 9, scores=(own, score), **more)


def test_a_line_says_where_the_run_is():
    seen = view()
    seen(evaluated(250, 60 * S))
    seen(Progress(251, 100 * S))
    assert seen.line(50.0) == (
        "round 251/1000 · simulated 1 min 40 s · accuracy 0.912 · 2x real time · "
        "2 min 29 s left"
    )


def test_what_does_not_fit_is_left_out_in_order():
    seen = view()
    seen(evaluated(251, 100 * S))
    lines = [seen.line(50.0, columns) for columns in (200, 80, 60, 40)]
    assert [("real" in t, "accuracy" in t, "left" in t) for t in lines] == [
        (True, True, True),
        (False, True, True),
        (False, False, True),
        (False, False, False),
    ]
    assert all(len(t) <= n for t, n in zip(lines, (200, 80, 60, 40), strict=True))


def test_the_picture_is_two_lines_within_80_columns():
    file = io.StringIO()
    seen = view(file=file)
    seen(evaluated(123, 10**14, phase=Phase(kind="pilot", num_rounds=160)))
    seen(evaluated(500, 10**14))
    seen.console.print(seen.picture(12345.0))
    lines = file.getvalue().splitlines()
    assert len(lines) == 2
    assert all(len(line) <= 80 for line in lines)
    assert lines[0].startswith("a-scenario")
    assert "50%" in lines[0]


def test_json_lines_are_one_per_event():
    file = io.StringIO()
    layers = [LayerError("q", "flora-na", 3, 0.1, 0.2), LayerError("v", "x", 3, 0.3, 0)]
    JsonLines(file)(evaluated(7, 2 * S, accuracy=float("nan"), layers=layers))
    JsonLines(file)(Progress(8, 3 * S, 5, 0, phase=Phase(kind="pilot", num_rounds=9)))
    first, second = map(json.loads, file.getvalue().splitlines())
    assert first == {
        "event": "round",
        "round": 7,
        "phase": "train",
        "sim_time_ns": 2 * S,
        "num_sampled": 10,
        "num_merged": 9,
        "accuracy": None,
        "loss": 0.3,
        "merge_error": 0.2,
    }
    assert (second["phase"], "accuracy" in second) == ("pilot", False)


def test_several_spectators_hear_the_same():
    heard = []
    all_of([heard.append, heard.append])("round")
    assert heard == ["round", "round"]


def test_the_last_line_of_json_lines_is_the_one_object(tmp_path, capsys):
    out = tmp_path / "run"
    assert (
        netsim(
            "run",
            "network-only",
            "--set",
            "stop.rounds=3",
            "--out",
            out,
            "--json-lines",
        )
        == 0
    )
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line.get("round") for line in lines] == [0, 1, 2, 3, None]
    assert lines[-1]["run"] == str(out)
    assert lines[-1]["status"] == "complete"
    assert lines[-1]["sim_time_ns"] == lines[-2]["sim_time_ns"]
    assert (
        netsim(
            "run",
            "network-only",
            "--set",
            "stop.rounds=3",
            "--json",
            "--quiet",
            "--out",
            tmp_path / "other",
        )
        == 0
    )
    plain = json.loads(capsys.readouterr().out.splitlines()[-1])
    named = {"run": "", "next": ""}  # with the folder
    assert {**plain, **named} == {**lines[-1], **named}


def test_scalars_are_finite_numbers_of_the_round():
    layers = [LayerError("q", "flora-na", 3, 0.25, 0.5)]
    assert scalars(evaluated(7, S, layers=layers)) == {
        "accuracy": 0.912,
        "loss": 0.3,
        "merge_error": 0.25,
        "num_sampled": 10,
        "num_merged": 9,
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_has_curves_by_round_and_by_simulated_time(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    out, board = tmp_path / "run", tmp_path / "board"
    assert netsim("run", *QUICK, "--quiet", "--out", out, "--tensorboard", board) == 0
    curves = EventAccumulator(str(board))
    curves.Reload()
    from netsim import load_run

    evals = load_run(out).evals
    by_round = curves.Tensors("round/accuracy")
    assert [point.step for point in by_round] == [0, 1, 2]
    found = [make_ndarray(point.tensor_proto).item() for point in by_round]
    assert found == pytest.approx(evals["accuracy"].tolist())
    by_time = curves.Tensors("time/accuracy")
    times_ms = (evals["time_ns"] / 10**6).round().astype("int64")
    assert [point.step for point in by_time] == times_ms.tolist()
    assert "round/merge_error" in curves.PluginTagToContent("scalars")


def test_without_tensorboard_one_message(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorboard.summary", None)
    code = netsim(
        "run",
        "network-only",
        "--out",
        tmp_path / "run",
        "--tensorboard",
        tmp_path / "board",
    )
    assert code == 2
    assert (
        "pip install -c constraints.txt -e '.[tensorboard]'" in capsys.readouterr().err
    )
    assert not (tmp_path / "run").exists()


def test_tensorboard_takes_no_file(tmp_path, capsys):
    path = tmp_path / "board"
    path.touch()
    assert (
        netsim("run", "network-only", "--out", tmp_path / "run", "--tensorboard", path)
        == 2
    )
    assert "is a file, not a folder" in capsys.readouterr().err


STUDY = """\
name: tiny
scenario: network-only
overrides: [stop.rounds=2]
axes: [{name: band, path: cell.uplink.band, values: [1 MHz, 2 MHz]}]
seeds: [1]
baseline: {band: 1 MHz}
"""


def test_a_study_tells_of_every_run_that_ends(tmp_path, capsys):
    (tmp_path / "tiny.yaml").write_text(STUDY)
    study = tmp_path / "tiny.yaml", "--out", tmp_path / "study", "--json-lines"
    assert netsim("study", *study) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    told = [(line.get("event"), line.get("variant")) for line in lines]
    assert told == [("run", "1 MHz"), ("run", "2 MHz"), (None, None)]
    assert [line["num_ended"] for line in lines[:2]] == [1, 2]
    assert (lines[0]["status"], lines[0]["rounds"]) == ("complete", 2)
    assert (lines[-1]["runs"], lines[-1]["failed"]) == (2, 0)
