"""``netsim plan``: the table it writes, what it promises, and what it refuses."""

import json

import pyarrow.parquet as pq
import pytest
from test_cli import netsim

NAMES = 9


@pytest.mark.parametrize("sharing", ["processor-sharing", "equal-fixed"])
def test_a_plan_is_written_and_beats_uniform(tmp_path, capsys, sharing):
    rule = f"cell.uplink.sharing={sharing}"
    assert (
        netsim("plan", "network-only", "--set", rule, "--out", tmp_path / "p", "--json")
        == 0
    )
    output = capsys.readouterr().out
    found = json.loads(output.splitlines()[-1])
    assert len(found["plans"]) == NAMES
    assert found["plans"]["uniform q"]["of_uniform"] == 1
    assert found["plans"]["joint"]["of_uniform"] < 1.01
    assert "assumed, for want of pilots" in output
    table = pq.read_table(tmp_path / "p" / "plan.parquet").to_pydict()
    assert table["client_id"] == list(range(20))
    assert all(0 < q <= 1 for q in table["sampling_probability"])
    assert set(table["limited_by"]) <= {"compute", "uplink", "memory"}


def test_the_weight_limit_holds(tmp_path):
    args = ("--max-weight", "0.1", "--out", tmp_path)
    assert netsim("plan", "network-only", *args) == 0
    table = pq.read_table(tmp_path / "plan.parquet").to_pydict()
    pairs = zip(table["weight"], table["sampling_probability"], strict=True)
    assert max(a / q for a, q in pairs) <= 0.1 + 1e-12


def test_a_ratio_without_rounds_is_refused(capsys):
    assert netsim("plan", "network-only", "--ratio", "-1") == 2
    assert "--ratio must exceed -0.05" in capsys.readouterr().err
