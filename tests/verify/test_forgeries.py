"""The audit is itself tested by mutation: every column of every table is forged."""

from collections import Counter
from pathlib import Path

import pytest

from netsim.verify.manifest import check_manifest
from netsim.verify.trace import Trace
from tests.support import recorded
from tests.support.forgeries import FREE, Forgery, Recorded, columns

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
MEASURED = ("norm2", "norm_exponent")  # by learning


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


def test_updates_are_told_where_they_are_asked_for_and_only_there(runs):
    learned, rule = runs["learned"], "updates must be told where the scenario asks"
    none = {**learned.tables, "updates": learned.tables["updates"].slice(0, 0)}
    evaluation = {"evaluation": {"clients": {"count": 2}}}
    for found in (
        learned.findings_of(none, []),
        learned.findings_under({"learning": evaluation}),
    ):
        assert [one.rule for one in found if one.rule.startswith(rule)]


def test_a_task_without_a_rank_is_a_finding_of_the_whole_audit(runs):
    learned = runs["learned"]
    ranks = [None, *learned.tables["tasks"].column("rank").to_pylist()[1:]]
    found = learned.findings_with("tasks", "rank", ranks)
    assert found[-1].rule == "a task has a rank where a model learns"


def test_a_task_written_twice_in_two_ways_is_a_finding(runs):
    run = runs["synchronous"]
    rows = run.tables["tasks"].to_pylist()
    done = next(row for row in rows if row["status"] == "done")
    found = run.findings_with_rows("tasks", [*rows, {**done, "merged_round_id": None}])
    assert "tasks must be numbered from zero on" in [one.rule for one in found]


def test_what_follows_from_measured_norms_is_computed_again(runs):
    run = runs["adaptive"]
    names = run.tables["estimates"].column("name").to_pylist()
    followed = [n for n, name in enumerate(names) if name not in MEASURED]
    for row in followed:
        value = run.tables["estimates"].column("value")[row].as_py()
        forgery = Forgery("estimates", "value", row, value * 1.001 + 1e-6)
        assert run.is_caught(forgery), names[row]
    plans = run.tables["plans"].column("round_id").to_pylist()
    for row in [plans.index(round_id) for round_id in sorted(set(plans))]:
        chance = run.tables["plans"].column("sampling_probability")[row].as_py()
        assert run.is_caught(Forgery("plans", "sampling_probability", row, chance / 2))


@pytest.mark.parametrize(
    ("table", "column"), [("plans", "rank"), ("rounds", "round_id")]
)
def test_an_audit_of_a_forged_run_goes_on_to_its_end(runs, table, column):
    values = runs["adaptive"].tables[table].column(column).to_pylist()
    forged = [None if column == "rank" else value + 2 for value in values]
    found = runs["adaptive"].findings_with(table, column, forged)
    assert {one.table for one in found} > {table}


def test_the_promise_in_the_manifest_is_that_of_the_first_plan(runs):
    run = runs["adaptive"]
    trace = Trace.of(run.tables, run.manifest.sim_time_ns)
    assert run.manifest.predicted
    for name, value in run.manifest.predicted.items():
        forged = {**run.manifest.predicted, name: value + 1}
        manifest = run.manifest.model_copy(update={"predicted": forged})
        found = list(check_manifest(run.folder, manifest, trace))
        assert [one.row for one in found] == ["predicted"]


def test_a_learned_download_has_the_bits_of_the_version_that_is_sent(runs):
    payload = {"payload": {"precision": "bfloat16"}}
    learned = runs["learned"].findings_under({"learning": payload})
    rules = Counter(one.rule for one in learned if one.table == "transfers")
    rows = runs["learned"].tables["transfers"].num_rows
    assert rules["a message must have the bits that are sent"] == rows


def test_a_server_without_rounds_starts_the_client_that_it_picked(runs):
    run = runs["asynchronous"]
    ids = run.tables["tasks"].column("client_id").to_pylist()
    tasks = run.tables["tasks"].column("task_id").to_pylist()
    first, second = tasks.index(0), tasks.index(1)
    ids[first], ids[second] = ids[second], ids[first]
    found = run.findings_with("tasks", "client_id", ids)
    rule = "a server must start the client that it picks, as soon as it can"
    assert [one.row for one in found if one.rule == rule] == ["task 0"]


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
