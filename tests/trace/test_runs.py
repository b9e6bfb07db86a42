"""Opening runs on disk, finished, killed or damaged."""

import copy
import json
import pickle
import subprocess
import sys

import pandas as pd
import pytest

from netsim import load_run
from netsim.errors import InputError
from netsim.learner.stop import Target
from netsim.runs.answer import answer
from netsim.runs.manifest import read_manifest
from netsim.runs.run import read_table
from netsim.trace.writer import Recorder
from tests.support import tiny_run


@pytest.fixture
def folder(tmp_path):
    return tiny_run.write_run(tmp_path / "tiny")


def test_tables_are_exact_frames(folder):
    run = load_run(folder)
    assert run.manifest.status == "complete"
    assert run.scenario_text == "name: tiny\nseed: 1\n"
    assert run.tasks["upload_bits"].tolist() == [1, 3]
    assert str(run.transfers["task_id"].dtype) == "Int64"
    assert run.transfers["task_id"].tolist() == [pd.NA, 10, 11]
    assert str(run.transfers["start_ns"].dtype) == "int64"
    assert str(run.transfers["direction"].dtype) == "category"
    assert run.clients["is_line_of_sight"].tolist() == [True, False]
    assert run.events["detail"].tolist() == ["Größe", ""]
    assert run.tasks is run.tasks
    for again in (copy.copy(run), pickle.loads(pickle.dumps(run))):
        assert again.tasks.equals(run.tasks)


@pytest.mark.parametrize(
    ("metric", "level", "seconds"),
    [("accuracy", 0.5, 0), ("accuracy", 0.9, 4), ("loss", 1.0, 4), ("loss", 2.0, 0)],
)
def test_time_to_is_the_first_global_evaluation(folder, metric, level, seconds):
    expected = pd.Timedelta(seconds=seconds)
    assert load_run(folder).time_to(metric, level) == expected
    assert load_run(folder).time_to(metric, level, split="test") == expected


def test_perplexity_falls_to_its_level(folder):
    run = load_run(folder)
    run._frames["evals"] = run.evals.assign(perplexity=[9.0, 1.0, 2.0])
    assert run.time_to("perplexity", 3.0) == pd.Timedelta(seconds=4)


def test_time_to_a_level_never_reached_is_nat(folder):
    assert load_run(folder).time_to("accuracy", 0.95) is pd.NaT
    assert load_run(folder).time_to("accuracy", 0.5, split="train") is pd.NaT


def test_unknown_metric_lists_the_known(folder):
    with pytest.raises(InputError, match="no metric 'f1'; there are accuracy, "):
        load_run(folder).time_to("f1", 0.5)


def test_killed_run_is_readable_up_to_its_last_part(tmp_path):
    (tmp_path / "scenario.yaml").write_text("name: tiny\n")
    tiny_run.manifest(tmp_path).write(tmp_path)
    recorder = Recorder(tmp_path, flush_rows=2)
    tiny_run.record(recorder)  # and is never closed
    (tmp_path / "trace" / "bands" / ".part-00001.parquet.tmp").write_bytes(b"PAR1to")
    run = load_run(tmp_path)
    assert run.manifest.status == "running"
    assert len(run.bands) == 2
    assert run.rounds.empty
    assert list(run.rounds.columns)[:2] == ["round_id", "server_id"]


def test_no_such_run(tmp_path):
    with pytest.raises(InputError, match="there is no such folder"):
        load_run(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"is not a run: cannot read manifest\.json"):
        load_run(tmp_path)


def test_a_folder_of_runs_names_one(tmp_path):
    (tmp_path / "runs" / "1-MHz").mkdir(parents=True)
    tiny_run.write_run(tmp_path / "runs" / "1-MHz" / "2")
    with pytest.raises(InputError, match=r"is not a run: .*it holds 1, as .*1-MHz.2$"):
        load_run(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": "one"}, r"manifest\.json is damaged: seed: .*valid integer"),
        ({"status": "finished"}, r"damaged: status: .*'running', 'complete'"),
        ({"colour": "red"}, r"damaged: colour: Extra inputs are not permitted"),
        ({"schema_version": 99}, r"trace version 99, but this netsim reads version 1"),
    ],
)
def test_damaged_manifest_is_named(folder, change, message):
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=message):
        load_run(folder)


def test_truncated_manifest_is_named(folder):
    path = folder / "manifest.json"
    path.write_text(path.read_text()[:50])
    with pytest.raises(InputError, match=r"manifest\.json is damaged: Invalid JSON"):
        load_run(folder)


def test_manifest_comes_back_equal(folder):
    manifest = read_manifest(folder)
    manifest.write(folder)
    assert read_manifest(folder) == manifest
    assert manifest.versions["netsim"] == "0.1.0"


def test_damaged_part_is_named(folder):
    part = folder / "trace" / "tasks" / "part-00000.parquet"
    part.write_bytes(part.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"tasks/part-00000\.parquet is damaged"):
        _ = load_run(folder).tasks


def test_part_of_another_table_is_named(folder):
    trace = folder / "trace"
    part = trace / "tasks" / "part-00000.parquet"
    part.write_bytes((trace / "plans" / "part-00000.parquet").read_bytes())
    with pytest.raises(InputError, match=r"part-00000\.parquet is not a part of tasks"):
        read_table(folder, "tasks")
    with pytest.raises(InputError, match=r"parquet is damaged: it has another SHA-256"):
        _ = load_run(folder).tasks


def test_a_part_that_is_missing_or_unknown_is_named(folder):
    tasks = folder / "trace" / "tasks"
    part = tasks / "part-00000.parquet"
    extra = tasks / "part-00001.parquet"
    extra.write_bytes(part.read_bytes())
    with pytest.raises(InputError, match="tasks has parts that the manifest lacks"):
        _ = load_run(folder).tasks
    extra.unlink()
    part.unlink()
    with pytest.raises(InputError, match=r"part-00000\.parquet is missing"):
        _ = load_run(folder).tasks


def test_a_figure_of_the_manifest_cannot_rot(folder):
    path = folder / "manifest.json"
    text = path.read_text()
    assert '"sim_time_ns": 4000000000' in text
    path.write_text(text.replace("4000000000", "4000000001"))
    with pytest.raises(InputError, match="damaged: its content has another checksum"):
        load_run(folder)


def test_import_netsim_is_light():
    code = "import sys, netsim; print({'pandas', 'pyarrow'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_a_time_to_a_level_reads_as_people_write_it(folder):
    moment = load_run(folder).time_to("accuracy", 0.9)
    assert f"{moment} {moment!r}" == "4.00 s 4.00 s"
    assert moment / pd.Timedelta(seconds=2) == 2.0


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (None, "best: accuracy 0.9 in round 1, after 4.00 s"),
        (
            Target(level=0.9),
            "target accuracy 0.9 met in round 1, after 4.00 s; "
            "best: accuracy 0.9 in round 1, after 4.00 s",
        ),
        (
            Target(metric="loss", level=0.2),
            "target loss 0.2 not met; best: loss 0.3 in round 1, after 4.00 s",
        ),
        (
            Target(level=0.65, over=2),
            "target accuracy 0.65 over 2 evaluations met in round 1, after 4.00 s; "
            "best: accuracy 0.7 in round 1, after 4.00 s",
        ),
        (
            Target(level=0.5, split="validation"),
            "target validation accuracy 0.5 not met; nothing was evaluated",
        ),
        (
            Target(metric="perplexity", level=9.0),
            "target perplexity 9 not met; nothing was evaluated",
        ),
    ],
)
def test_the_answer_is_whether_and_when_the_target_was_met(folder, target, said):
    assert str(answer(folder, target)) == said
