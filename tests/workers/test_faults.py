"""Workers under faults: an interrupt, a killed parent, a killed worker."""

import json
import os
import signal
from contextlib import suppress

import pytest

from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
from netsim.verify import verify
from tests.support.command import netsim
from tests.support.warm_workers import WarmCommand
from tests.torture import worker_faults
from tests.torture.faulty import OVERRIDES, PROCESSES, TWO, Faulty, wait
from tests.torture.learned import new_cache

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PROCESSES.is_dir(), reason="processes are looked up in /proc"
    ),
]

SHORT = (*OVERRIDES, "learning.training.local_steps=6")
HUNGRY = (*worker_faults.HUNGRY, *SHORT)


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The digest of the run when nothing goes wrong; it also counts the model."""
    config = read_scenario(find_scenario("quickstart"), SHORT)
    folder = tmp_path_factory.mktemp("expected") / "run"
    return run_scenario(config, folder, reuse=False).digest


@pytest.fixture
def cache(tmp_path):
    """A cache with what was counted of the model, and nothing learned."""
    return new_cache(tmp_path / "cache")


@pytest.fixture
def faulty(expected, cache, tmp_path):
    run = Faulty(tmp_path / "run", cache, SHORT, WarmCommand)
    yield run
    run.clear()


@pytest.fixture
def fresh(expected, cache, tmp_path):
    """A run whose processes start as everyone's do."""
    run = Faulty(tmp_path / "run", cache, SHORT)
    yield run
    run.clear()


@pytest.fixture
def resumed(capsys, monkeypatch):
    """Resume a run in this process, which has imported all; return its summary."""

    def resumed(faulty):
        monkeypatch.setenv("XDG_CACHE_HOME", str(faulty.cache))
        capsys.readouterr()
        assert netsim(*faulty.words("--resume", "--quiet", "--json")) == 0
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    return resumed


def test_an_interrupt_of_the_group_ends_all_and_says_how_to_go_on(
    expected, faulty, resumed
):
    faulty.start(*TWO).wait_for_training()
    faulty.kill_all(signal.SIGINT)
    code, _, said = faulty.end()
    assert code == 130
    assert f"--out {faulty.folder} --resume" in said
    assert "Traceback" not in said
    wait(lambda: not faulty.group())
    again = resumed(faulty)
    assert again["digest"] == expected
    assert again["steps_reused"] > 0


def test_a_killed_parent_leaves_no_orphans_and_a_run_to_resume(
    expected, fresh, resumed
):
    fresh.start(*TWO).wait_for_training()
    fresh.kill(signal.SIGKILL)
    assert fresh.end()[0] == -signal.SIGKILL
    wait(lambda: not fresh.group())
    again = resumed(fresh)
    assert again["digest"] == expected
    assert again["steps_reused"] > 0


SERVERS = {
    "synchronous": "{kind: synchronous, announce_time: 1 ms, merge_time: 0 s, "
    "sampling: {kind: uniform, num_drawn: 6}}",
    "buffered": "{kind: buffered, concurrency: 6, buffer_size: 3, merge_time: 5 ms}",
    "asynchronous": "{kind: asynchronous, concurrency: 6, merge_time: 5 ms}",
    "late": "{kind: deadline, deadline: 900 ms, late: next-round, announce_time: 1 ms, "
    "merge_time: 0 s, sampling: {kind: uniform, num_drawn: 6}}",
}


@pytest.mark.parametrize("server", SERVERS)
def test_a_killed_run_resumes_to_the_same_digest(
    server, expected, cache, resumed, tmp_path
):
    """With clients that come and go, and a server that is down for a while."""
    overrides = (
        "stop.rounds=8",
        "learning.training.local_steps=6",
        "learning.cohort_size=3",
        f"server={SERVERS[server]}",
        "server.outages=[{at: 1 s, duration: 200 ms}]",
        "population.availability={kind: markov, mean_on: 4 s, mean_off: 1 s}",
        "cell.downlink={band: 10 MHz, radio: {kind: fixed-power}, "
        "mode: unicast, sharing: processor-sharing}",
        "cell.uplink.sharing=processor-sharing",
    )
    config = read_scenario(find_scenario("quickstart"), overrides)
    whole = run_scenario(config, tmp_path / "whole", reuse=False)
    run = Faulty(tmp_path / "run", cache, overrides, WarmCommand)
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


def test_workers_without_memory_give_one_message_and_a_run_to_resume(
    cache, resumed, tmp_path
):
    """Their allocations really fail; what was trained before is kept."""
    config = read_scenario(find_scenario("quickstart"), HUNGRY)
    right = run_scenario(config, tmp_path / "right", reuse=False).digest
    run = Faulty(tmp_path / "run", cache, HUNGRY, WarmCommand)
    try:
        code, wrong = worker_faults.starved_workers(run, None)
        assert (code, wrong) == (2, [])
        again = resumed(run)
    finally:
        run.clear()
    assert again["digest"] == right
    assert again["steps_reused"] > 0


def test_workers_that_are_killed_again_and_again_give_one_message(faulty):
    faulty.start(*TWO, "--quiet").wait_for_training()

    def is_over():
        for pid in faulty.workers():
            with suppress(ProcessLookupError):  # it ended meanwhile
                os.kill(pid, signal.SIGKILL)
        return faulty.is_over

    wait(is_over)
    code, _, said = faulty.end()
    assert code == 2
    assert said.startswith("workers: 2 worker processes in a row ended with exit code")
    assert "Traceback" not in said
    manifest = json.loads((faulty.folder / "manifest.json").read_text())
    assert manifest["status"] == "failed"
    wait(lambda: not faulty.group())  # the last one may still be ending
