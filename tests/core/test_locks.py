"""A folder belongs to one process at a time, and to nobody once that has died."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from netsim.core import locks
from netsim.core.locks import LOCK_FILE, locked
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
from netsim.errors import InputError
from tests.support.command import netsim

HOLD = """
import sys, time
from pathlib import Path
from netsim.core.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""
STUDY = """\
name: tiny
scenario: network-only
overrides: [stop.rounds=2]
axes: [{path: cell.uplink.band, values: [5 MHz]}]
seeds: [1]
baseline: {band: 5 MHz}
"""


@pytest.fixture
def hold():
    """Start processes that hold a folder each, and end them in the end."""
    started = []

    def start(folder):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(folder)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(params=["system", "file"])
def way(request, monkeypatch):
    """Locks of the system, and what stands in for them."""
    if request.param == "file":
        monkeypatch.setattr(locks, "fcntl", None)


def test_the_second_is_told_who_holds_the_folder(tmp_path, hold, way):
    other = hold(tmp_path)
    with (
        pytest.raises(InputError, match="is in use by process") as caught,
        locked(tmp_path),
    ):
        pass
    assert f"process {other.pid} on {socket.gethostname()}" in str(caught.value)


def test_a_killed_process_holds_nothing(tmp_path, hold, way):
    other = hold(tmp_path)
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert (tmp_path / LOCK_FILE).exists()
    with locked(tmp_path):
        assert str(os.getpid()) in (tmp_path / LOCK_FILE).read_text()


@pytest.fixture(params=["ENOLCK", "ENOSYS"])
def no_locks(request, monkeypatch):
    """A file system whose answer to every lock is that it has none."""

    def refuse(handle, operation):
        raise OSError(getattr(errno, request.param), "no locks here")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)


def test_without_locks_one_thread_at_a_time_is_let_in(tmp_path, no_locks):
    """A lock file of a process that has ended lies there first."""
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        capture_output=True,
        text=True,
        check=True,
    )
    text = json.dumps(
        {
            "pid": int(gone.stdout),
            "host": socket.gethostname(),
            "command": "",
            "pid_namespace": os.readlink("/proc/self/ns/pid"),
        }
    )
    (tmp_path / LOCK_FILE).write_text(text)
    inside, most, done = [], [], []

    def work():
        for _ in range(20):
            with locked(tmp_path, patience_s=60):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.0005)
                inside.pop()
                done.append(1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (max(most), len(done)) == (1, 160)
    assert list(tmp_path.iterdir()) == []


def test_without_locks_the_holder_is_named_and_the_way_out(tmp_path, no_locks):
    text = '{"pid": 1, "host": "far-away", "command": "netsim run"}'
    (tmp_path / LOCK_FILE).write_text(text)
    with pytest.raises(InputError) as caught, locked(tmp_path):
        pass
    assert "process 1 on far-away (netsim run)" in str(caught.value)
    assert f"if that process has ended, delete {tmp_path / LOCK_FILE}" in str(
        caught.value
    )


def test_a_file_without_a_name_is_abandoned_after_a_while(tmp_path, no_locks):
    path = tmp_path / LOCK_FILE
    path.touch()
    with pytest.raises(InputError, match="another process"), locked(tmp_path):
        pass
    long_ago_s = time.time() - locks.UNNAMED_S - 1
    os.utime(path, (long_ago_s, long_ago_s))
    with locked(tmp_path):
        pass


def test_a_lock_of_the_system_respects_one_by_file_alone(tmp_path, monkeypatch):
    """One process may be refused a lock by a server which serves the next."""
    with monkeypatch.context() as patch:
        patch.setattr(locks, "fcntl", None)
        by_file = locked(tmp_path)
        by_file.__enter__()
    with pytest.raises(InputError, match=str(os.getpid())), locked(tmp_path):
        pass
    by_file.__exit__(None, None, None)
    with locked(tmp_path):
        pass


def test_without_links_a_lock_is_created_in_place(tmp_path, monkeypatch):
    def refuse(source, target):
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    with locked(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [LOCK_FILE]
        with pytest.raises(InputError, match=str(os.getpid())), locked(tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("has_locks", [True, False])
def test_the_lock_of_another_user_is_respected_and_goes(
    has_locks, tmp_path, monkeypatch
):
    """It can be read only; where the system locks no such file, its name decides."""
    real = os.open

    def open_as_another(path, flags, *mode):
        if Path(path).name == LOCK_FILE and flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, "of another user", path)
        return real(path, flags, *mode)

    def refuse(handle, operation):
        raise OSError(errno.EBADF, "open for reading")

    gone = subprocess.Popen(["true"])
    gone.wait()
    with locked(tmp_path), monkeypatch.context() as patch:
        patch.setattr(os, "open", open_as_another)
        with pytest.raises(InputError, match=str(os.getpid())), locked(tmp_path):
            pass
        text = (tmp_path / LOCK_FILE).read_text()
    (tmp_path / LOCK_FILE).write_text(json.dumps(json.loads(text) | {"pid": gone.pid}))
    monkeypatch.setattr(os, "open", open_as_another)
    if not has_locks:
        monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with locked(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_drafts_of_killed_processes_go(tmp_path):
    (tmp_path / f"{LOCK_FILE}-0123456789abcdef.tmp").touch()
    with locked(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [LOCK_FILE]


def test_patience_outlasts_the_holder(tmp_path, hold):
    other = hold(tmp_path)
    other.send_signal(signal.SIGKILL)
    with locked(tmp_path, patience_s=60):
        pass


def test_a_lock_of_another_host_is_never_taken_by_its_file_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "fcntl", None)
    text = '{"pid": 1, "host": "far-away", "command": "netsim run"}'
    (tmp_path / LOCK_FILE).write_text(text)
    with pytest.raises(InputError, match="process 1 on far-away"), locked(tmp_path):
        pass


def test_a_process_of_another_container_is_never_taken_for_dead(tmp_path, no_locks):
    """Its ids are not ours, though the host may have the same name."""
    gone = {"pid": 2**22 + 1, "host": socket.gethostname(), "command": ""}
    text = json.dumps({**gone, "is_by_file": True, "pid_namespace": "pid:[1]"})
    (tmp_path / LOCK_FILE).write_text(text)
    with pytest.raises(InputError, match="process 4194305 on"), locked(tmp_path):
        pass


def test_nothing_is_left_behind(tmp_path):
    with locked(tmp_path / "new"):
        assert locks.is_empty(tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with locked(tmp_path / "new"):
        (tmp_path / "new" / "mine").touch()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["mine"]


def test_one_waits_for_the_other_in_the_same_process(tmp_path):
    """Each opens the file anew, so threads and nested calls are told apart, too."""
    start_s = time.monotonic()
    busy = pytest.raises(InputError, match=str(os.getpid()))
    with locked(tmp_path), busy, locked(tmp_path, patience_s=0.3):
        pass
    assert time.monotonic() - start_s >= 0.3


def network_only():
    return read_scenario(find_scenario("network-only"), ("stop.rounds=2",))


def test_a_run_folder_in_use_is_refused_and_a_dead_ones_is_not(tmp_path, hold, capsys):
    folder = tmp_path / "run"
    whole = run_scenario(network_only(), tmp_path / "whole").digest
    other = hold(folder)
    args = ("run", "network-only", "--set", "stop.rounds=2", "--out", folder)
    for more in ((), ("--resume",)):
        assert netsim(*args, *more) == 2
        assert f"is in use by process {other.pid}" in capsys.readouterr().err
    other.kill()
    other.wait()
    assert netsim(*args, "--quiet") == 0
    assert not (folder / LOCK_FILE).exists()
    again = run_scenario(network_only(), folder, resume=True)
    assert again.digest == whole


def test_a_study_folder_in_use_is_refused_and_a_dead_ones_is_not(
    tmp_path, hold, capsys
):
    path, folder = tmp_path / "tiny.yaml", tmp_path / "study"
    path.write_text(STUDY)
    other = hold(folder)
    assert netsim("study", path, "--out", folder) == 2
    assert f"is in use by process {other.pid}" in capsys.readouterr().err
    other.kill()
    other.wait()
    assert netsim("study", path, "--out", folder) == 0
    assert not list(folder.rglob(LOCK_FILE))
