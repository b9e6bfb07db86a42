"""A short form of the swarm, its corpus, and an oracle that notices what is wrong."""

from pathlib import Path

import pytest
import yaml

import netsim
from tests.torture.swarm import oracle
from tests.torture.swarm.__main__ import Trial
from tests.torture.swarm.scenarios import scenario
from tests.torture.swarm.shrinking import shrunk
from tests.torture.swarm.tables import Tables

CORPUS = sorted((Path(__file__).parent / "swarm" / "corpus").glob("*.yaml"))


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_what_was_wrong_once_is_right(path, tmp_path):
    assert Trial(yaml.safe_load(path.read_text()), tmp_path / "work").faults == []


@pytest.mark.slow
def test_random_scenarios_run_and_are_sound(tmp_path):
    trials = [Trial(scenario(2, number)[0], tmp_path / "work") for number in range(30)]
    assert [trial.faults for trial in trials if trial.faults] == []
    assert sum(trial.is_refused for trial in trials) < 15


def _forged(table, column, change):
    """Return a change of the first value of a column that is known and not zero."""

    def forge(tables):
        rows = [row for row in getattr(tables, table) if row[column]]
        rows[0][column] = change(rows[0][column])

    return forge


FORGERIES = {
    "phases_in_order": _forged("tasks", "compute_end_ns", lambda t: 10**15),
    "one_task_at_a_time": lambda tables: tables.tasks.append(dict(tables.tasks[0])),
    "merges_are_tasks": _forged("rounds", "num_merged", lambda n: n + 1),
    "rounds_follow": _forged("rounds", "start_ns", lambda t: t - 1),
    "attempts": lambda tables: tables.transfers.append(dict(_up(tables)[0])),
    "within_the_task": _forged("tasks", "upload_start_ns", lambda t: t + 1),
    "bits_add_up": lambda tables: _up(tables)[0].update(status="failed"),
    "energies": _forged("tasks", "compute_energy_j", lambda e: e * 1.01),
    "weights": _forged("clients", "weight", lambda w: w * 2),
    "events_in_order": lambda tables: tables.events.append(
        dict(tables.events[-1], time_ns=1)
    ),
    "deliveries": lambda tables: tables.arrivals.append(dict(tables.arrivals[0])),
    "nothing_after_the_end": _forged("bands", "end_ns", lambda t: 10**15),
    "exact_work": _forged("transfers", "bits", lambda b: b + 1),
    "full_bands": _forged("bands", "allocated_uhz", lambda s: s - 1),
}


def _up(tables):
    rows = [row for row in tables.transfers if row["direction"] == "up"]
    return [row for row in rows if row["status"] == "done"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("swarm") / "run"
    overrides = ["stop.rounds=3", "population.num_clients=4", "server.sampling=full"]
    netsim.run("lossy-uplink", *overrides, out=folder)
    return folder, yaml.safe_load((folder / "scenario.yaml").read_text())


def test_every_check_has_a_forgery():
    assert {check.__name__ for check in oracle.CHECKS} == FORGERIES.keys()


@pytest.mark.parametrize("name", FORGERIES)
def test_the_oracle_notices(name, finished):
    folder, case = finished
    tables = Tables(folder)
    assert oracle.wrong(tables, case) == []
    FORGERIES[name](tables)
    assert any(one.startswith(f"{name}:") for one in oracle.wrong(tables, case))


def test_a_scenario_shrinks_to_what_is_wrong():
    case = {"stop": {"rounds": 9}, "server": {"late": "x", "first": 3}, "list": [1, 2]}
    found = shrunk(case, lambda one: one.get("server", {}).get("late") == "x")
    assert found == {"server": {"late": "x"}}
