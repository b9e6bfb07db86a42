"""Joins of a run's tables: every key leads to one row, and types stay exact."""

import pandas as pd
import pytest

import netsim
from netsim import load_run
from netsim.errors import InputError
from netsim.runs.joins import JOINS, joined, with_times
from netsim.study.frames import write_table
from netsim.trace.schemas import SCHEMAS
from tests.support import tiny_run


@pytest.fixture
def run(tmp_path):
    return load_run(tiny_run.write_run(tmp_path / "tiny"))


@pytest.fixture(scope="module")
def long_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("joins") / "run"
    return netsim.run("network-only", "stop.rounds=6", out=folder)


@pytest.mark.parametrize("join", JOINS, ids=" ".join)
def test_every_key_is_there_unique_and_found(long_run, join):
    assert join.key in SCHEMAS[join.table].names
    right = long_run.table(join.other)[join.other_key]
    assert right.is_unique
    left = long_run.table(join.table)[join.key].dropna()
    assert set(left) - {0} <= set(right)  # a plan or an evaluation before round 1


@pytest.mark.parametrize("join", JOINS, ids=" ".join)
def test_a_join_adds_columns_and_no_rows(long_run, join):
    before = long_run.table(join.table)
    found = joined(long_run, join.table, join.other, on=join.key)
    assert len(found) == len(before)
    pd.testing.assert_frame_equal(found[before.columns], before)
    assert not any(dtype == "float64" for dtype in found.filter(like="_ns").dtypes)


def test_with_edge_servers_a_row_joins_with_its_own_servers_round(tmp_path):
    edges = netsim.run("hierarchical", "stop.rounds=4", out=tmp_path / "run")
    tasks = joined(edges, "tasks", "rounds", on="merged_round_id")
    cells = edges.clients.set_index("client_id")["cell_id"]
    assert tasks["server_id"].tolist() == tasks["client_id"].map(cells).tolist()
    sizes = tasks.groupby(["round_id", "server_id"])["num_merged"].agg(["size", "max"])
    assert set(sizes.index.get_level_values("server_id")) == {0, 1}
    assert (sizes["size"] == sizes["max"]).all()  # no client counts at another server
    transfers = joined(edges, "transfers", "rounds")
    assert (transfers["server_id"] == transfers["cell_id"]).all()
    assert len(joined(edges, "evals", "rounds")) == len(edges.evals)
    with pytest.raises(InputError, match="merges does not say whose; tasks, transf"):
        joined(edges, "merges", "rounds")


def test_a_join_by_hand(run):
    found = joined(run, "tasks", "clients")
    assert found["device"].tolist() == ["phone", "laptop"]
    assert str(found["num_samples"].dtype) == "int64"
    assert str(found["device"].dtype) == "category"
    assert found["weight"].tolist() == [0.5, 0.5]
    assert found["weight_clients"].tolist() == [0.25, 0.75]
    late = joined(run, "tasks", "rounds")
    assert (late["end_ns_rounds"] - late["end_ns"]).tolist() == [tiny_run.S, 0]


def test_what_has_no_key_has_nothing(run):
    found = joined(run, "transfers", "clients")
    assert found["device"].isna().tolist() == [True, False, False]
    assert str(found["num_samples"].dtype) == "Int64"
    assert found["num_samples"].tolist() == [pd.NA, 10, 30]


def test_a_way_that_is_not_there_names_those_that_are(run):
    message = "segments does not join with 'clients'; it joins with transfers on tran"
    with pytest.raises(InputError, match=message):
        joined(run, "segments", "clients")
    with pytest.raises(InputError, match="on 'task_id'; it joins with clients on"):
        joined(run, "tasks", "clients", on="task_id")
    with pytest.raises(InputError, match="no table joins from 'bands'; those are"):
        joined(run, "bands", "clients")


def test_times_are_exact_timedeltas(run):
    tasks = run.tasks.copy()
    tasks.loc[0, "end_ns"] = 2**62 + 1
    tasks.loc[1, "upload_start_ns"] = pd.NA
    found = with_times(tasks)
    assert found["end"][0] == pd.Timedelta(2**62 + 1, "ns")
    assert found["upload_start"].isna().tolist() == [False, True]
    assert "end_ns" not in found
    assert found["upload_bits"].tolist() == [1, 3]


def test_seconds_are_timedeltas_too():
    frame = pd.DataFrame({"round_s": [1.5, float("nan")], "longest": ["a", "b"]})
    found = with_times(frame)
    assert found["round"][0] == pd.Timedelta(1500, "ms")
    assert found["round"].isna().tolist() == [False, True]
    assert found["longest"].tolist() == ["a", "b"]


def test_a_studys_times_are_timedeltas_where_they_are_known(tmp_path):
    rows = [
        {"variant": "a", "seed": 1, "status": "complete", "time_ns": 3, "end_ns": 5},
        {"variant": "a", "seed": 2, "status": "failed"},
    ]
    write_table(tmp_path, ["policy"], rows)
    table = netsim.load_study(tmp_path).table
    assert str(table["time_ns"].dtype) == "Int64"
    assert str(table["is_reached"].dtype) == "boolean"
    found = with_times(table)
    assert found["time"][0] == pd.Timedelta(3, "ns")
    assert found["end"].isna().tolist() == [False, True]


def test_joins_are_reached_from_the_package(tmp_path):
    run = netsim.load_run(tiny_run.write_run(tmp_path / "run"))
    frame = netsim.joins.joined(run, "tasks", "clients")
    assert frame.device.tolist() == ["phone", "laptop"]
    with pytest.raises(AttributeError, match="no attribute 'jions'"):
        _ = netsim.jions
