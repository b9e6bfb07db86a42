"""Whatever ends a run, it goes on to the digest that it would have had."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from netsim import load_run
from tests.torture import crash
from tests.torture.judging import judged
from tests.torture.shapes import seeded

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are forked"),
]
WHAT = ("network-only synchronous", "network-only buffered", "study")
GREEDY = "learning.task={kind: 'tests.torture.poison:Greedy'}"


@pytest.mark.parametrize("what", WHAT)
def test_a_killed_command_goes_on_to_the_same_digests(what, tmp_path):
    (bed,) = crash.beds(tmp_path, only=[what])
    bed.learn_what_is_right()
    assert bed.digests
    counts, wrong = crash.killed_until_done(bed, seeded("short", what))
    assert wrong == []
    assert counts["kills"] >= 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_ended_run_says_how_to_go_on(number, tmp_path):
    folder = tmp_path / "run"
    main = "from netsim.cli import main; main()"
    words = ["run", "network-only", "--set", "stop={time: 1000 h}", "--out", folder]
    process = subprocess.Popen(
        [sys.executable, "-c", main, *words], stderr=subprocess.PIPE, text=True
    )
    while not (folder / "scenario.yaml").exists():
        assert process.poll() is None
    process.send_signal(number)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 130
    assert f"--out {folder} --resume" in said.replace("\n", " ")
    assert "Traceback" not in said
    assert json.loads((folder / "manifest.json").read_text())["status"] == "interrupted"


def test_too_little_memory_for_training_is_one_message(tmp_path):
    words = ("run", "quickstart", "--set", GREEDY, "--quiet", "--fresh")
    verdict = judged(*words, "--out", tmp_path / "run", limit_s=120)
    assert (verdict.code, verdict.fault) == (2, "")
    program, said = verdict.said.split("\n", 1)
    assert program.startswith("this scenario is a program: ")
    assert said.startswith("learning.cohort_size: training needs more memory")


def killed_at_write(number, folder):
    """Run in a child that dies where it would give its nth file its name; return
    whether it came so far."""
    pid = os.fork()
    if not pid:
        left = iter(range(number))

        def replace(source, target, rename=os.replace):
            if next(left, None) is None:
                os._exit(77)
            rename(source, target)

        os.replace = replace
        judged("run", "network-only", *SHORT, "--out", folder, limit_s=60)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 77


SHORT = ("--set", "stop={rounds: 2}", "--set", "population.num_clients=3", "--quiet")


def test_a_run_killed_before_any_of_its_files_goes_on_to_the_same_digest(tmp_path):
    whole = tmp_path / "whole"
    assert judged("run", "network-only", *SHORT, "--out", whole).code == 0
    num_written = len([*whole.rglob("*.parquet")]) + 3  # two manifests, the scenario
    for number in range(num_written):
        folder = tmp_path / str(number)
        assert killed_at_write(number, folder)
        again = judged("run", "network-only", *SHORT, "--out", folder, "--resume")
        assert (again.code, again.fault) == (0, ""), number
        assert load_run(folder).manifest.digest == load_run(whole).manifest.digest
        assert sorted(p.name for p in folder.rglob(".*") if p.is_file()) == []
    assert not killed_at_write(num_written, tmp_path / "last")


def test_an_interrupt_stays_one_whatever_a_library_makes_of_it(tmp_path, monkeypatch):
    def load(*given):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        except KeyboardInterrupt as error:
            raise RuntimeError("some library's own") from error

    monkeypatch.setattr("netsim.cli.running.read_scenario", load)
    words = ("run", "network-only", "--out", tmp_path / "run")
    verdict = judged(*words, allowed=(130,))
    assert (verdict.code, verdict.fault) == (130, "")
    assert verdict.said == "interrupted; the same command does it again\n"


def test_an_interrupt_in_the_midst_of_a_run_stays_one_too(tmp_path, monkeypatch):
    def play(*given):
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)
        except KeyboardInterrupt as error:
            raise RuntimeError("some library's own") from error

    monkeypatch.setattr("netsim.cosim.run.play", play)
    words = ("run", "network-only", "--quiet", "--out", tmp_path / "run")
    verdict = judged(*words, allowed=(130,))
    assert (verdict.code, verdict.fault) == (130, "")
    assert f"--out {tmp_path / 'run'} --resume" in verdict.said


def test_an_interrupt_before_a_run_begins_is_one_word(tmp_path, monkeypatch):
    def load(*given):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)

    monkeypatch.setattr("netsim.cli.running.read_scenario", load)
    verdict = judged("run", "network-only", "--out", tmp_path / "run", allowed=(130,))
    assert (verdict.code, verdict.fault) == (130, "")
    assert verdict.said == "interrupted; the same command does it again\n"
