"""The audit is itself tested by mutation: every column of every table is forged."""

import pytest

from tests.support import recorded
from tests.support.forgeries import FREE, Recorded, columns


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


def test_free_columns_are_columns():
    assert set(FREE) <= set(columns())
