"""Names that lead out of a folder, pipes in the place of files, others' entries."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

import netsim
from fl.memory import files
from fl.memory.memory import write_folder
from fl.memory.store import Entry, Store
from fl.peft_folders import merge_folders
from fl.tasks.tables import _content
from netsim.core.files import StoredFile
from netsim.cosim.inputs import inputs
from netsim.cosim.reading import read_scenario
from netsim.cosim.shipped import find_scenario
from netsim.errors import InputError
from netsim.report.spreadsheet import to_csv
from netsim.runs.manifest import code_in, read_manifest
from netsim.scenario.file_path import read_text
from netsim.study.work import Host, Job, Mark, run_one
from tests.support.command import netsim as command

OUTSIDE = ["../../../X", "/X", "a/../../X", "", "C:X", "..\\X"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_an_entry_of_the_store_stays_in_its_folder(name, tmp_path):
    folder = tmp_path / "a" / "b" / "c" / "adapter"
    entry = Entry(["good", name], (np.zeros(1, np.uint8),) * 2)
    with pytest.raises(files.Damaged):
        write_folder(entry, folder)
    assert not list(tmp_path.rglob("*X*"))
    assert not (folder / "good").exists()


def test_a_key_of_the_store_is_no_path(tmp_path):
    with pytest.raises(AssertionError, match="hexadecimal"):
        Store(tmp_path).recall("ab/../../../X", dict)


def test_an_entry_of_another_user_is_absent(tmp_path, monkeypatch):
    path = tmp_path / "one"
    files.write_checked(path, b"numbers")
    assert files.read_checked(path) == b"numbers"
    me = os.geteuid()
    monkeypatch.setattr("os.geteuid", lambda: me + 1)
    status = os.stat_result([*os.stat(path)[:4], me + 2, *os.stat(path)[5:]])
    monkeypatch.setattr("os.fstat", lambda handle: status)
    with pytest.raises(FileNotFoundError):
        files.read_checked(path)
    assert Store(tmp_path).recall("abcdef", dict) is None


def test_a_pipe_in_the_store_is_absent(tmp_path):
    os.mkfifo(tmp_path / "one")
    with pytest.raises(FileNotFoundError):
        files.read_checked(tmp_path / "one")


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", ""])
def test_a_manifest_lists_files_of_its_folder_only(path):
    with pytest.raises(ValidationError, match="must lie within the folder"):
        StoredFile(path=path, num_bytes=0, sha256="")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("honest") / "run"
    netsim.run("network-only", "stop.rounds=1", out=folder)
    return folder


def test_a_manifest_that_lists_others_is_refused(finished, tmp_path, capsys):
    run = shutil.copytree(finished, tmp_path / "run")
    content = json.loads((run / "manifest.json").read_text())
    content["files"][0]["path"] = "../../outside"
    (run / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="must lie within the folder"):
        read_manifest(run)
    assert command("verify", run) == 2


def fifo(path):
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return path


def test_pipes_are_not_read_as_data(tmp_path):
    pipe = fifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="not a regular file"):
        read_text(pipe)
    with pytest.raises(ValueError, match="not a regular file"):
        _content(pipe)


@pytest.mark.parametrize("name", ["manifest.json", "scenario.yaml"])
@pytest.mark.parametrize("words", [("verify",), ("timeline",), ("replay",)])
def test_pipes_in_a_run_are_refused(name, words, finished, tmp_path, capsys):
    run = shutil.copytree(finished, tmp_path / "run")
    fifo(run / name)
    assert command(*words, run) in (1, 2)


def test_a_pipe_as_a_part_of_a_table_is_refused(finished, tmp_path, capsys):
    run = shutil.copytree(finished, tmp_path / "run")
    fifo(run / "trace" / "tasks" / "part-00000.parquet")
    assert command("verify", run) in (1, 2)


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json"])
def test_pipes_in_an_adapter_are_refused(name, tmp_path):
    folder = tmp_path / "adapter"
    folder.mkdir()
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    fifo(folder / name)
    with pytest.raises(ValueError, match="not a regular file"):
        merge_folders([folder, folder], tmp_path / "out")


def test_a_name_is_no_folder_to_crawl():
    scenario = read_scenario(find_scenario("network-only"), ("cell.name=/",))
    assert code_in(inputs(scenario)) == inputs(scenario)


def test_cells_of_a_csv_are_no_formulas():
    frame = pd.DataFrame(
        {
            "=name": ["=1+1", "@x", "+cmd", "-cmd", "\tx", "\rx", "plain", "-3.5"],
            "value": [-1.5, 2, 3, 4, 5, 6, 7, 8],
        }
    )
    lines = to_csv(frame).split("\n")
    assert lines[0] == "'=name,value"
    assert lines[1] == "'=1+1,-1.5"
    assert [line[:2] for line in lines[2:6]] == ["'@", "'+", "'-", "'\t"]
    assert "plain,7.0" in lines
    assert "-3.5,8.0" in lines


def test_a_far_worker_uses_a_private_folder(tmp_path, monkeypatch):
    seen = []

    def run(host, job, folder):
        seen.append((folder, folder.parent.stat()))
        raise RuntimeError("seen enough")

    monkeypatch.setattr("netsim.study.work._run", run)
    mark = Mark(tmp_path / "absent", b"")
    job = Job("", tmp_path, tmp_path / "run", netsim_code())
    for _ in range(2):
        assert run_one(Host(mark=mark), job).status == "failed"
    (first, status), (second, _) = seen
    assert first != second
    assert status.st_mode & 0o777 == 0o700
    assert status.st_uid == os.geteuid()
    assert not Path(first).parent.exists()


def netsim_code():
    from netsim.scenario import UserCode

    return UserCode()
