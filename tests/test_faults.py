"""Workers under faults: an interrupt, a killed parent, a killed worker."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fl.cache import cache_folder
from netsim.cosim.run import run_scenario
from netsim.cosim.scenario import read_scenario
from netsim.cosim.shipped import find_scenario
from netsim.verify import verify

PROCESSES = Path("/proc")
OVERRIDES = (
    "stop.rounds=3",
    "learning.training.local_steps=12",
    "learning.cohort_size=3",
)
TWO = ("--workers", "2")
PATIENCE_S = 120

pytestmark = pytest.mark.skipif(
    not PROCESSES.is_dir(), reason="processes are looked up in /proc"
)


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The digest of the run when nothing goes wrong; it also counts the model."""
    config = read_scenario(find_scenario("quickstart"), OVERRIDES)
    folder = tmp_path_factory.mktemp("expected") / "run"
    return run_scenario(config, folder, reuse=False).digest


class Faulty:
    """A run whose process group and store are its own."""

    def __init__(self, folder, cache, overrides=OVERRIDES):
        self.folder, self._cache = folder, cache
        self._overrides = overrides
        self._process = None

    def command(self, *more):
        sets = [f"--set={override}" for override in self._overrides]
        main = "from netsim.cli import main; main()"
        named = [sys.executable, "-c", main, "run", "quickstart", *sets]
        return [*named, "--out", str(self.folder), *more]

    def start(self, *more):
        self._process = subprocess.Popen(
            self.command(*more),
            env={**os.environ, "XDG_CACHE_HOME": str(self._cache)},
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return self

    def workers(self):
        """Return the ids of the processes that train."""
        return [pid for pid in self.group() if "spawn_main" in (_words(pid) or "")]

    def group(self):
        """Return the ids of the run's process and of all that it started."""
        pids = [int(path.name) for path in PROCESSES.iterdir() if path.name.isdigit()]
        return [pid for pid in pids if _group(pid) == self._process.pid]

    def wait_for_learning(self, num_entries):
        """Return when so much is remembered."""
        store = self._cache / "netsim" / "store"
        _wait(lambda: sum(1 for _ in store.glob("??/*")) >= num_entries)
        return self

    def wait_for_training(self):
        """Return when both workers are there and the first merge is remembered."""
        store = self._cache / "netsim" / "store"
        _wait(lambda: len(self.workers()) == 2)
        _wait(lambda: sum(1 for _ in store.glob("??/*")) >= 4)
        return self

    def kill(self, number):
        self._process.send_signal(number)

    def end(self):
        """Return the exit code and what was printed."""
        printed, said = self._process.communicate(timeout=PATIENCE_S)
        return self._process.returncode, printed, said

    def clear(self):
        for pid in self.group():
            os.kill(pid, signal.SIGKILL)
        self._process.communicate()


def _words(pid):
    try:
        return (PROCESSES / str(pid) / "cmdline").read_text().replace("\0", " ")
    except OSError:
        return None


def _group(pid):
    """Return a live process's group; that of a dead one, a zombie too, is None."""
    try:
        stat = (PROCESSES / str(pid) / "stat").read_text()
    except OSError:
        return None
    state, _, group = stat.rpartition(")")[2].split()[:3]
    return None if state == "Z" else int(group)


def _wait(is_so):
    until_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < until_s, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def cache(tmp_path):
    """A cache with what was counted of the model, and nothing learned."""
    path = tmp_path / "cache"
    shutil.copytree(
        cache_folder(), path / "netsim", ignore=shutil.ignore_patterns("store")
    )
    return path


@pytest.fixture
def faulty(expected, cache, tmp_path):
    run = Faulty(tmp_path / "run", cache)
    yield run
    run.clear()


def resumed(faulty):
    """Return the summary of the resumed run, which needs no second process."""
    code, printed, _ = faulty.start("--resume", "--quiet", "--json").end()
    assert code == 0
    return json.loads(printed.splitlines()[-1])


def test_an_interrupt_of_the_group_ends_all_and_says_how_to_go_on(expected, faulty):
    faulty.start(*TWO).wait_for_training()
    os.killpg(faulty.group()[0], signal.SIGINT)
    code, _, said = faulty.end()
    assert code == 130
    assert f"--out {faulty.folder} --resume" in said
    assert "Traceback" not in said
    _wait(lambda: not faulty.group())
    again = resumed(faulty)
    assert again["digest"] == expected
    assert again["steps_reused"] > 0


def test_a_killed_parent_leaves_no_orphans_and_a_run_to_resume(expected, faulty):
    faulty.start(*TWO).wait_for_training()
    faulty.kill(signal.SIGKILL)
    assert faulty.end()[0] == -signal.SIGKILL
    _wait(lambda: not faulty.group())
    again = resumed(faulty)
    assert again["digest"] == expected
    assert again["steps_reused"] > 0


IMPATIENT = {
    "buffered": "{kind: buffered, concurrency: 6, buffer_size: 3, merge_time: 5 ms}",
    "asynchronous": "{kind: asynchronous, concurrency: 6, merge_time: 5 ms}",
    "late": "{kind: deadline, deadline: 900 ms, late: next-round, announce_time: 1 ms, "
    "merge_time: 0 s, sampling: {kind: uniform, num_drawn: 6}}",
}


@pytest.mark.parametrize("server", IMPATIENT)
def test_a_killed_run_that_does_not_wait_resumes_to_the_same_digest(
    server, expected, cache, tmp_path
):
    """With clients that come and go, and a server that is down for a while."""
    overrides = (
        "stop.rounds=8",
        "learning.training.local_steps=6",
        "learning.cohort_size=3",
        f"server={IMPATIENT[server]}",
        "server.outages=[{at: 1 s, duration: 200 ms}]",
        "population.availability={kind: markov, mean_on: 4 s, mean_off: 1 s}",
        "cell.downlink={band: 10 MHz, radio: {kind: fixed-power}, "
        "mode: unicast, sharing: processor-sharing}",
        "cell.uplink.sharing=processor-sharing",
    )
    config = read_scenario(find_scenario("quickstart"), overrides)
    whole = run_scenario(config, tmp_path / "whole", reuse=False)
    run = Faulty(tmp_path / "run", cache, overrides)
    try:
        run.start("--quiet").wait_for_learning(4).kill(signal.SIGKILL)
        assert run.end()[0] == -signal.SIGKILL
        again = resumed(run)
    finally:
        run.clear()
    assert again["digest"] == whole.digest
    assert again["steps_reused"] > 0
    assert verify(run.folder) == []


def test_a_killed_workers_work_is_done_again(expected, faulty):
    faulty.start(*TWO, "--quiet", "--json").wait_for_training()
    os.kill(faulty.workers()[0], signal.SIGKILL)
    code, printed, _ = faulty.end()
    assert code == 0
    assert json.loads(printed.splitlines()[-1])["digest"] == expected


def test_workers_that_are_killed_again_and_again_give_one_message(faulty):
    faulty.start(*TWO, "--quiet").wait_for_training()

    def is_over():
        for pid in faulty.workers():
            os.kill(pid, signal.SIGKILL)
        return faulty._process.poll() is not None

    _wait(is_over)
    code, _, said = faulty.end()
    assert code == 2
    assert said.startswith("workers: 2 worker processes in a row ended with exit code")
    assert "Traceback" not in said
    manifest = json.loads((faulty.folder / "manifest.json").read_text())
    assert manifest["status"] == "failed"
    _wait(lambda: not faulty.group())  # the last one may still be ending
