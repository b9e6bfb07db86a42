"""Runs and studies on a real Ray cluster: the same results when a process dies."""

import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile

import pandas as pd
import pytest

import netsim as package
from fl.workers import ray_cluster
from fl.workers.executor import NoCluster, WorkerDied
from fl.workers.ray_cluster import RayHand, connect, ray_workers
from netsim.core.locks import locked
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
from netsim.cosim.workers import Workers
from netsim.errors import InputError
from netsim.scenario.permission import UserCode
from netsim.study import work as study_work
from netsim.study.work import Host, Mark, packed, run_one, unpack
from tests.support.command import netsim
from tests.support.studies import killed_midway, written
from tests.support.work import die, die_for_want_of, plus, refuse_three, say_who
from tests.torture.learned import new_cache

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quickstart_base", "own_cache")]

NUM_WORKERS = 2
NETWORK = """\
name: network
scenario: network-only
overrides: [stop.rounds=2]
axes: [{path: cell.uplink.band, values: [5 MHz]}]
seeds: [1]
baseline: {band: 5 MHz}
"""


@pytest.fixture(scope="module")
def cluster():
    """A cluster of this machine's own, to which this process is connected."""
    ray = pytest.importorskip("ray", reason="needs the extra `cluster`")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # for our own functions
        assert connect("auto", NUM_WORKERS)
        yield ray
        ray.shutdown()


@pytest.fixture
def executor(cluster):
    made = ray_workers("auto", 10, num_workers=NUM_WORKERS)
    yield made
    made.close()
    assert cluster.is_initialized(), "it was connected before, and stays so"


def test_results_come_in_the_items_order(executor):
    for _ in range(2):
        assert list(executor.map(plus, range(5))) == [10, 11, 12, 13, 14]
    assert list(executor.map(plus, [])) == []


def test_the_first_error_in_the_items_order_is_raised(executor):
    found = executor.map(refuse_three, [1, 3, 4, 2])
    assert next(found) == 1
    with pytest.raises(ValueError, match="3 is too much"):
        next(found)


def test_a_dead_workers_work_is_done_once_more(cluster, tmp_path, caplog):
    executor = ray_workers("auto", tmp_path / "seen", num_workers=NUM_WORKERS)
    assert list(executor.map(die_for_want_of, range(4))) == [0, 1, 2, 3]
    executor.close()
    assert "a Ray worker ended: " in caplog.text
    assert "Some common causes" not in caplog.text


def test_work_that_kills_twice_is_given_up(executor):
    with pytest.raises(WorkerDied, match="2 worker processes in a row ended with"):
        list(executor.map(die, [1]))


def test_workers_stay_between_pieces_of_work(executor):
    first = set(executor.map(say_who, range(6)))
    assert len(first) == NUM_WORKERS
    assert os.getpid() not in first
    assert set(executor.map(say_who, range(6))) == first


def test_a_worker_of_other_software_is_refused():
    other = {**ray_cluster.software(), "torch": "1.0"}
    outcome = RayHand(10, {}, other).apply(plus, 1)
    with pytest.raises(NoCluster, match=r"other software.*torch .* for 1\.0"):
        _ = outcome.result


def kill_one_when(folder, num_done):
    """Kill a worker with SIGKILL once so many runs are finished."""

    def wait_and_kill():
        deadline_s = time.monotonic() + 300
        while len(list(folder.glob("runs/*/*/adapter"))) < num_done:
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        killed.append(worker_ids()[0])
        os.kill(killed[0], signal.SIGKILL)

    killed = []
    thread = threading.Thread(target=wait_and_kill)
    thread.start()
    return thread, killed


def worker_ids():
    """Return the ids of the workers of the cluster that this process has started."""
    words = subprocess.run(
        ["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True
    ).stdout.splitlines()[1:]
    rows = [line.split(maxsplit=2) for line in words]
    raylets = {row[0] for row in rows if row[1] == str(os.getpid())}
    return [int(r[0]) for r in rows if r[1] in raylets and "ray::RayHand" in r[2]]


def soon(condition, limit_s=30):
    """Return whether a condition comes to hold within some seconds."""
    until_s = time.monotonic() + limit_s
    while not condition() and time.monotonic() < until_s:
        time.sleep(0.1)
    return condition()


def test_a_study_survives_a_killed_worker_with_the_same_tables(
    cluster, tmp_path, monkeypatch
):
    path = written(tmp_path)
    whole = package.run_study(path, out=tmp_path / "whole")
    monkeypatch.setenv("XDG_CACHE_HOME", str(new_cache(tmp_path / "other-cache")))
    folder = tmp_path / "spread"
    thread, killed = kill_one_when(folder, 2)
    spread = package.run_study(path, out=folder, workers=NUM_WORKERS, ray="auto")
    thread.join()
    assert killed
    assert set(spread.table.status) == {"complete"}
    for name in ("study", "curves", "summary"):
        files = [one / f"{name}.parquet" for one in (folder, tmp_path / "whole")]
        assert files[0].read_bytes() == files[1].read_bytes()
    pd.testing.assert_frame_equal(spread.table, whole.table)


def test_a_run_survives_a_killed_worker_with_the_same_digest(
    cluster, tmp_path, monkeypatch
):
    """Cohorts of one run are spread; a worker dies under one, or between two."""
    few = ("stop.rounds=3", "learning.training.local_steps=2", "learning.cohort_size=3")
    config = read_scenario(find_scenario("quickstart"), few)
    alone = run_scenario(config, tmp_path / "alone", reuse=False)
    killed = []

    def kill_one(progress):
        if progress.round_id == 1:
            killed.append(worker_ids()[0])
            os.kill(killed[0], signal.SIGKILL)

    who = Workers(NUM_WORKERS, "auto")
    spread = run_scenario(
        config, tmp_path / "spread", reuse=False, workers=who, watch=kill_one
    )
    assert len(killed) == 1
    assert spread.digest == alone.digest
    assert spread.steps_trained == alone.steps_trained > 0
    assert soon(lambda: not worker_ids())


def test_a_killed_driver_goes_on(tmp_path):
    pytest.importorskip("ray", reason="needs the extra `cluster`")
    path, folder = written(tmp_path), tmp_path / "killed"
    killed_midway(path, folder, "--ray=auto")
    before = {p: p.stat().st_mtime_ns for p in folder.glob("runs/*/*/adapter")}
    assert before
    finished = package.run_study(path, out=folder)
    assert set(finished.table.status) == {"complete"}
    whole = package.run_study(path, out=tmp_path / "whole")
    pd.testing.assert_frame_equal(finished.table, whole.table)


def far(folder):
    """Return what a worker is told that sees other files."""
    return Host(mark=Mark(folder / "nowhere", b""))


def test_a_worker_that_sees_other_files_sends_its_run_back(tmp_path, monkeypatch):
    (tmp_path / "far").mkdir()
    monkeypatch.setattr(study_work.tempfile, "tempdir", str(tmp_path / "far"))
    path = written(tmp_path, NETWORK)
    near = package.run_study(path, out=tmp_path / "near")
    run = next((tmp_path / "near").glob("runs/*/1"))
    text, here = (run / "scenario.yaml").read_text(), tmp_path / "here" / "1"
    job = study_work.Job(text, tmp_path, here, UserCode())
    ending = run_one(far(tmp_path), job)
    assert (ending.status, ending.far_host != "") == ("complete", True)
    assert not job.folder.exists()
    assert not list((tmp_path / "far").iterdir()), "nothing stays there"
    unpack(ending.packed, job.folder)
    assert package.load_run(job.folder).manifest.digest == near.table.digest[0]
    with zipfile.ZipFile(io.BytesIO(packed(run))) as archive:
        names = set(archive.namelist())
    assert names == {
        path.relative_to(job.folder).as_posix()
        for path in job.folder.rglob("*")
        if path.is_file()
    }


def test_who_sees_the_lock_of_the_study_sees_its_files(tmp_path):
    with locked(tmp_path):
        mark = Mark.of(tmp_path)
        assert mark.is_seen
    assert not mark.is_seen


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:1", "no Ray cluster at 127.0.0.1:1"),
        ("10.0.0.1:many", "must be auto or an address such as 10.0.0.1:6379"),
    ],
)
def test_an_address_without_a_server_is_refused_at_once(
    address, expected, tmp_path, capsys
):
    pytest.importorskip("ray", reason="needs the extra `cluster`")
    import ray

    ray.shutdown()
    start_s = time.monotonic()
    more = ("--out", tmp_path / "study", "--quiet")
    assert netsim("study", written(tmp_path), "--ray", address, *more) == 2
    assert expected in capsys.readouterr().err
    assert time.monotonic() - start_s < 30


def test_a_share_of_a_gpu_is_for_a_cluster(tmp_path, capsys):
    path, folder = written(tmp_path, NETWORK), tmp_path / "study"
    assert netsim("study", path, "--gpus", "0.5", "--out", folder) == 2
    assert "--gpus: only workers of a cluster" in capsys.readouterr().err


def test_a_run_that_trains_nothing_has_nothing_to_spread(tmp_path, capsys):
    run = ("run", "network-only", "--ray", "auto", "--out", tmp_path / "run")
    assert netsim(*run) == 2
    assert "--ray: this scenario trains nothing" in capsys.readouterr().err


def test_without_ray_the_extra_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: None)
    path, folder = written(tmp_path), tmp_path / "study"
    assert netsim("study", path, "--ray", "auto", "--out", folder) == 2
    assert "--ray auto: needs Ray: pip install -c constraints.txt -e '.[cluster]'" in (
        capsys.readouterr().err
    )
    with pytest.raises(InputError, match="cluster"):
        package.run_study(path, ray="auto", out=folder)


@pytest.mark.parametrize("way", ["RAY_ADDRESS", "by address"])
def test_the_command_joins_a_cluster_and_leaves_it_running(way, cluster, tmp_path):
    """Stdout is the study's own; the cluster stays for others."""
    address = cluster.get_runtime_context().gcs_address
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    if way == "RAY_ADDRESS":
        env["RAY_ADDRESS"], address = address, "auto"
    code = "from netsim.cli import main; main()"
    command = [sys.executable, "-W", "error", "-c", code, "study"]
    named = [*command, written(tmp_path, NETWORK), "--quiet", "--json"]
    done = subprocess.run(
        [*named, "--ray", address, "--out", tmp_path / "study"],
        capture_output=True,
        text=True,
        check=True,
        env=env,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("study ")
    assert lines[1].startswith("{")
    assert "ray" not in done.stderr.lower().replace(str(tmp_path).lower(), "")
    assert soon(lambda: not worker_ids()), "its workers went with it"
    assert [node["Alive"] for node in cluster.nodes()] == [True]


def test_a_note_of_a_cluster_that_is_gone_is_not_followed(tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    note = tmp_path / "ray" / "ray_current_cluster"
    note.write_text("127.0.0.1:1")
    assert ray_cluster._running() is None
    with socket.create_server(("127.0.0.1", 0)) as listening:
        place = f"127.0.0.1:{listening.getsockname()[1]}"
        note.write_text(place)
        assert ray_cluster._running() == place
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert ray_cluster._running() == "10.0.0.1:6379"
