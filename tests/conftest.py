"""Settings that every test shares."""

import os
from pathlib import Path

import pytest

from tests.support.warm_workers import start_warm_server

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # as many processes as cores do the rest
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="session", autouse=True)
def common_cache(tmp_path_factory):
    """The cache of all tests and test processes; never the one of the person who runs
    them."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        yield root / "cache"


@pytest.fixture(scope="session")
def quickstart_base(tmp_path_factory, common_cache):
    """The common cache with the base model of ``quickstart`` and what it costs."""
    from netsim.cosim.reading import read_scenario
    from netsim.cosim.run import run_scenario
    from netsim.cosim.shipped import find_scenario

    few = ("stop.rounds=1", "learning.training.local_steps=1", "server.sampling=full")
    settings = (*few, "population.num_clients=2")
    scenario = read_scenario(find_scenario("quickstart"), settings)
    run_scenario(scenario, tmp_path_factory.mktemp("base") / "run")
    return common_cache


@pytest.fixture
def own_cache(tmp_path_factory, monkeypatch, common_cache):
    """A cache of this test alone: base models and counts of the others, no learning."""
    folder = tmp_path_factory.mktemp("own-cache")
    (folder / "netsim").mkdir()
    for path in (common_cache / "netsim").glob("*.*"):
        (folder / "netsim" / path.name).symlink_to(path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture
def own_store(quickstart_base, own_cache):
    """A store of remembered learning of this test alone."""
    return own_cache / "netsim" / "store"


@pytest.fixture(scope="session", autouse=True)
def warm_workers():
    """Let the server of all workers import what any of them does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fl.workers.processes.start_server", start_warm_server)
        yield


LONGEST = (  # files, by the seconds that they took
    "study/test_study.py",
    "workers/test_faults.py",
    "workers/test_ray.py",
    "scenario/test_shipped.py",
    "devices/test_testbeds.py",
    "band/test_queueing.py",
    "aggregation/test_every_merge.py",
    "policy/test_solver.py",
    "aggregation/test_merges_in_rounds.py",
    "verify/test_forgeries.py",
    "costs/test_timing.py",
    "policy/test_policy_runs.py",
    "torture/test_crash.py",
    "peft_folders/test_peft_folders.py",
    "verify/test_honest_runs.py",
    "aggregation/test_merge_study.py",
    "federation/test_federation.py",
    "cosim/test_run.py",
    "study/test_tune.py",
    "report/test_report.py",
    "memory/test_code.py",
    "federation/test_local_metrics.py",
    "aggregation/test_closed_forms.py",
)


def pytest_collection_modifyitems(items):
    """Begin with the files that take longest, so that no worker waits for one at the
    end."""
    places = {Path(__file__).parent / name: n for n, name in enumerate(LONGEST)}
    assert all(path.is_file() for path in places), "LONGEST names files that are gone"
    items.sort(key=lambda item: places.get(item.path, len(places)))
