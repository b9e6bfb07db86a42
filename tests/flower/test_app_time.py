"""What an app's code sees of time, and what is refused; without Flower itself."""

import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from fl.contract import Pause
from fl.flower.alternation import Alternation
from fl.flower.app_time import AppTime, Untimed, running, simulated_time
from fl.flower.project import Project, parsed_config

HERE = Path(__file__).parent


def connect():
    with socket.socket() as one:
        one.connect(("127.0.0.1", 9))


def app_time(sleep=None, folder=HERE):
    return AppTime(folder, "client", lambda: 5_000_000_000, sleep)


def test_the_clock_of_an_app_is_the_simulated_one():
    real = time.time
    with simulated_time():
        assert time.time() > 1e9
        with running(app_time()):
            assert (time.time(), time.perf_counter_ns()) == (5.0, 5_000_000_000)
    assert time.time is real


def test_a_sleep_of_the_server_takes_simulated_time():
    slept = []
    with simulated_time(), running(app_time(slept.append)):
        time.sleep(3600)
    assert slept == [3600]


@pytest.mark.parametrize(
    ("act", "what"),
    [
        (lambda: time.sleep(1), "sleeps"),
        (lambda: threading.Thread(target=print).start(), "starts a thread"),
        (connect, "opens a socket"),
    ],
)
def test_what_cannot_be_timed_is_refused_where_the_app_itself_asks_for_it(act, what):
    with simulated_time(), running(app_time()), pytest.raises(Untimed, match=what):
        act()


def test_a_library_may_have_threads_of_its_own():
    thread = threading.Thread(target=int)
    with simulated_time(), running(app_time(folder=HERE / "apps")):
        thread.start()
    thread.join()


def test_blocking_code_runs_only_when_it_is_its_turn():
    log = []

    def app():
        for number in range(2):
            log.append(f"app {number}")
            turns.pause(Pause(until_ns=number))
        log.append("end")

    turns = Alternation(app)
    while (pause := turns.resume()) is not None:
        log.append(f"network {pause.until_ns}")
    assert log == ["app 0", "network 0", "app 1", "network 1", "end"]


def test_code_that_is_given_up_ends_at_its_next_pause():
    ended = []

    def app():
        try:
            while True:
                try:
                    turns.pause(Pause())
                except Exception:
                    ended.append("caught")
        finally:
            ended.append("ended")

    turns = Alternation(app)
    turns.resume()
    turns.close()
    assert ended == ["ended"]


def test_an_error_of_blocking_code_is_raised_where_it_is_driven():
    turns = Alternation(lambda: sys.exit("over"))
    with pytest.raises(SystemExit, match="over"):
        turns.resume()


def project(folder, text):
    (folder / "pyproject.toml").write_text(text)
    return Project.read(folder)


PARTS = '[tool.flwr.app.components]\nserverapp = "a:app"\nclientapp = "b:app"\n'


def test_settings_of_an_app_are_joined_and_replaced_as_flower_does(tmp_path):
    text = (
        PARTS + "[tool.flwr.app.config]\nlr = 0.1\n[tool.flwr.app.config.model]\nr = 8"
    )
    assert dict(project(tmp_path, text).config) == {"lr": 0.1, "model.r": 8}
    given = parsed_config(["lr=0.5 model.r=4"])
    assert dict(Project.read(tmp_path, given).config) == {"lr": 0.5, "model.r": 4}


def test_runs_and_hidden_files_in_its_folder_are_no_part_of_an_app(tmp_path):
    app = project(tmp_path, PARTS)
    before = app.digest
    for name in ("first/manifest.json", "first/scenario.yaml", ".git/one.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("import torch")
    assert (app.digest, app.uses_torch) == (before, False)
    (tmp_path / "first.py").write_text("import torch")
    assert app.digest != before
    assert app.uses_torch


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[project]\nname = 'a'", "names no .tool.flwr.app.components."),
        ("[tool", "cannot be read"),
        (PARTS + "[tool.flwr.app.config]\na = [1]", "setting a must be one value"),
    ],
)
def test_a_folder_that_is_no_app_is_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        project(tmp_path, text)


def test_an_unknown_setting_is_refused_with_the_known_ones(tmp_path):
    project(tmp_path, PARTS + "[tool.flwr.app.config]\nlr = 0.1")
    with pytest.raises(ValueError, match=r"no setting 'rate'.*it has lr"):
        Project.read(tmp_path, {"rate": 1})


def test_nothing_of_flower_is_imported_before_an_app_runs():
    code = "import netsim.cosim.scenario, netsim.cosim.commands.flower_app, sys; "
    code += "sys.exit(any(name.startswith('flwr') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
