"""The audit is itself tested by mutation: every column of every table is forged."""

from pathlib import Path

import pytest

from tests.support import recorded
from tests.support.forgeries import FREE, Recorded, columns

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """One small recorded run per kind of server and network, read once."""
    folder = tmp_path_factory.mktemp("recorded")
    return {
        name: Recorded(recorded.record(name, folder / name)) for name in recorded.RUNS
    }


def test_honest_runs_are_sound_and_wholly_computed_again(runs):
    wrong = {name: run.findings for name, run in runs.items() if run.findings}
    skipped = {name: run.skipped for name, run in runs.items() if run.skipped}
    assert (wrong, skipped) == ({}, {})


@pytest.mark.parametrize(("table", "column"), columns())
def test_a_forged_column_is_caught(runs, table, column):
    if (table, column) in FREE:
        pytest.skip(FREE[table, column])
    missed = [
        (name, forgery)
        for name, run in runs.items()
        for forgery in run.forgeries(table, column)
        if not run.is_caught(forgery)
    ]
    assert missed == []


def test_free_columns_are_columns_and_listed_with_their_reasons():
    assert set(FREE) <= set(columns())
    text = (ROOT / "netsim/TRACE.md").read_text()
    part = text.partition("<!-- free columns -->\n")[2]
    lines = part.partition("\n<!-- end of free columns -->")[0].splitlines()[2:]
    assert lines == [f"| `{t}.{c}` | {why} |" for (t, c), why in FREE.items()]


def test_a_task_without_a_rank_is_a_finding_of_the_whole_audit(runs):
    learned = runs["learned"]
    ranks = [None, *learned.tables["tasks"].column("rank").to_pylist()[1:]]
    found = learned.findings_with("tasks", "rank", ranks)
    assert found[-1].rule == "a task has a rank where a model learns"


def test_every_update_of_a_merge_is_counted(runs):
    learned = runs["learned"]
    counts = [row["num_components"] for row in learned.tables["merges"].to_pylist()]
    for other in (1, -1):
        forged = [count + other for count in counts]
        found = learned.findings_with("merges", "num_components", forged)
        assert "num_components" in found[0].rule


@pytest.mark.parametrize("size", ["upload", "download"])
def test_messages_have_the_bits_of_the_scenario(runs, size):
    found = runs["synchronous"].findings_under({"learning": {size: "100 kB"}})
    assert "must have the bits that are sent" in found[0].rule
