"""Schemas, digests and the crash-safe writer of the trace."""

import errno
import os
from typing import get_type_hints

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from netsim import load_run
from netsim import run as netsim_run
from netsim.trace import rows
from netsim.trace.digest import TableDigest, run_digest
from netsim.trace.schemas import SCHEMAS
from netsim.trace.tables import TABLES
from netsim.trace.writer import Recorder, batch_of, clear_trace, record_batch
from tests.support import tiny_run

PLANS = [rows.Plan(i, i % 3, i / 7, None if i % 2 else i) for i in range(20)]


def digest_of(table, *parts):
    digest = TableDigest(table)
    for part in parts:
        digest.update(pa.Table.from_batches([record_batch(table, part)]))
    return digest.hexdigest()


@pytest.mark.parametrize("table", SCHEMAS)
def test_schema_has_the_names_and_nulls_of_its_rows(table):
    hints = get_type_hints(TABLES[table].row)
    schema = SCHEMAS[table]
    assert tuple(schema.names) == TABLES[table].row._fields
    assert {f.name: f.nullable for f in schema} == {
        name: hint in (int | None, float | None) for name, hint in hints.items()
    }
    assert schema.metadata[b"netsim.trace_version"] == str(rows.TRACE_VERSION).encode()


def test_times_are_integers_and_words_are_categories():
    schema = SCHEMAS["transfers"]
    assert schema.field("start_ns").type == pa.int64()
    assert schema.field("direction").type == pa.dictionary(pa.int32(), pa.string())
    assert SCHEMAS["evals"].field("loss").type == pa.float64()
    assert SCHEMAS["events"].field("detail").type == pa.string()


@pytest.mark.parametrize("cut", [1, 7, 19])
def test_digest_does_not_see_where_a_table_is_cut(cut):
    assert digest_of("plans", PLANS) == digest_of("plans", PLANS[:cut], PLANS[cut:])


@pytest.mark.parametrize(
    ("row", "other"),
    [
        (rows.Plan(0, 1, 0.5, None), rows.Plan(0, 1, 0.5, 0)),
        (rows.Plan(0, 1, 0.5, 4), rows.Plan(1, 0, 0.5, 4)),
        (rows.Plan(0, 1, 0.5, 4), rows.Plan(0, 1, 0.5000000001, 4)),
    ],
)
def test_digest_sees_every_value(row, other):
    assert digest_of("plans", [row]) != digest_of("plans", [other])


def test_digest_sees_where_a_text_ends():
    event = rows.Event(0, 0, "mark", None, None, "")
    pair = [event._replace(detail="ab"), event._replace(detail="c")]
    other = [event._replace(detail="a"), event._replace(detail="bc")]
    assert digest_of("events", pair) != digest_of("events", other)


def test_digest_knows_one_nan():
    merge = rows.Merge(0, "q", "mean", 2, float("nan"), 0.0)
    negative = merge._replace(relative_error=-float("nan"))
    assert digest_of("merges", [merge]) == digest_of("merges", [negative])


def test_digests_are_stable_between_versions():
    assert digest_of("plans", PLANS).startswith("63ff6e7091c90a75")


def test_adapter_counts_in_the_run_digest_alone(tmp_path):
    recorder = Recorder(tmp_path)
    tiny_run.record(recorder)
    summary = recorder.close()
    assert summary.digest("a") != summary.digest("b")
    assert summary.digest() == run_digest(summary.table_digests, "")
    changed = {**summary.table_digests, "evals": "other"}
    assert run_digest(changed, "") != summary.digest()


@pytest.mark.parametrize("flush_rows", [1, 2, 65_536])
def test_recorder_writes_the_same_trace_in_any_parts(tmp_path, flush_rows):
    recorder = Recorder(tmp_path / "cut", flush_rows)
    tiny_run.record(recorder)
    cut = recorder.close()
    recorder = Recorder(tmp_path / "whole")
    tiny_run.record(recorder)
    whole = recorder.close()
    assert cut.table_digests == whole.table_digests
    assert cut.network_digest == whole.network_digest
    assert cut.num_rows == whole.num_rows
    assert len(cut.parts) == {1: 31, 2: 22, 65_536: 18}[flush_rows]


def test_recorder_keeps_its_lists_over_a_flush(tmp_path):
    recorder = Recorder(tmp_path, flush_rows=2)
    append = recorder.plans.append
    for plan in PLANS:
        append(plan)
        recorder.flush_full()
    assert recorder.plans == []
    assert recorder.close().num_rows["plans"] == 20
    frame = pd.read_parquet(tmp_path / "trace" / "plans")
    assert frame["round_id"].tolist() == list(range(20))


@pytest.mark.parametrize("flush_rows", [1, 7, 65_536])
def test_columns_leave_the_trace_of_their_rows(tmp_path, flush_rows):
    ranks = [row.rank for row in PLANS]
    chances = np.array([row.sampling_probability for row in PLANS])
    rounds, clients = (np.array([row[place] for row in PLANS]) for place in (0, 1))
    by_columns = Recorder(tmp_path / "columns", flush_rows)
    by_rows = Recorder(tmp_path / "rows", flush_rows)
    for recorder in (by_columns, by_rows):
        recorder.plans.append(PLANS[3])  # waits, and stays the first
    by_columns.write_columns("plans", (rounds, clients, chances, ranks))
    by_rows.plans.extend(PLANS)
    for recorder in (by_columns, by_rows):
        recorder.plans.append(PLANS[5])
    columns, rows_ = by_columns.close(), by_rows.close()
    assert columns.table_digests == rows_.table_digests
    assert columns.num_rows == rows_.num_rows
    assert max(part.num_rows for part in columns.parts) <= max(flush_rows + 1, 22)


def test_columns_of_words_and_claims_keep_their_types(tmp_path):
    recorder = Recorder(tmp_path)
    columns = [np.array(column) for column in zip(*tiny_run.CLIENTS, strict=True)]
    columns[2] = columns[2].astype(object)
    recorder.write_columns("clients", columns)
    found = recorder.close().table_digests["clients"]
    assert found == digest_of("clients", tiny_run.CLIENTS)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([0], np.array([0.5]), [0.5], [None]), "plans.client_id must be int64"),
        (([0], [None], [0.5], [None]), "plans.client_id must be int64"),
        (([0], np.arange(1), ["a"], [None]), "plans.sampling_probability must be"),
    ],
)
def test_a_column_of_a_wrong_type_is_refused(columns, message):
    with pytest.raises(ValueError, match=message):
        batch_of("plans", columns)


def test_empty_tables_have_their_columns(tmp_path):
    summary = Recorder(tmp_path).close()
    always = [name for name, table in TABLES.items() if not table.is_optional]
    assert [part.num_rows for part in summary.parts] == [0] * len(always)
    assert sorted(path.name for path in (tmp_path / "trace").iterdir()) == sorted(
        always
    )
    for table in always:
        frame = pd.read_parquet(tmp_path / "trace" / table)
        assert list(frame.columns) == SCHEMAS[table].names


def test_parquet_gives_the_schema_back(tmp_path):
    tiny_run.write_run(tmp_path / "run")
    for table, schema in SCHEMAS.items():
        path = tmp_path / "run" / "trace" / table / "part-00000.parquet"
        assert pq.read_schema(path).equals(schema, check_metadata=True)


def test_a_part_that_cannot_be_written_leaves_no_trace(tmp_path, monkeypatch):
    recorder = Recorder(tmp_path, flush_rows=1)
    recorder.plans.append(PLANS[0])
    recorder.flush_full()

    def no_space(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    recorder.plans.append(PLANS[1])
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_space)
        with pytest.raises(OSError, match=r"No space left.*part-00001\.parquet"):
            recorder.flush_full()
    assert os.listdir(tmp_path / "trace" / "plans") == ["part-00000.parquet"]
    assert recorder.close().num_rows["plans"] == 2  # nothing is lost meanwhile


def test_recorder_does_not_mix_two_runs(tmp_path):
    Recorder(tmp_path).close()
    with pytest.raises(FileExistsError, match="holds a trace already"):
        Recorder(tmp_path)
    (tmp_path / "trace" / "bands" / ".part-00001.parquet.tmp").write_bytes(b"torn")
    clear_trace(tmp_path)
    assert os.listdir(tmp_path / "trace" / "bands") == []
    Recorder(tmp_path).close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start_ns": 0.5}, "transfers.start_ns must be int64"),
        ({"end_ns": None}, "transfers.end_ns must be int64"),
        ({"task_id": 2.0}, "transfers.task_id must be int64"),
        ({"status": None}, "transfers.status must be dictionary"),
        ({"direction": 1}, "transfers.direction must be dictionary"),
        ({"bits": 2**63}, "transfers.bits must be int64"),
    ],
)
def test_a_row_of_wrong_types_is_refused(change, message):
    row = tiny_run.TRANSFERS[0]._replace(**change)
    with pytest.raises(ValueError, match=message):
        record_batch("transfers", [row])


def test_rows_are_sorted_as_the_list_of_tables_declares(tmp_path):
    run = netsim_run("several-cells", "stop={rounds: 2}", out=tmp_path / "run")
    for name, table in TABLES.items():
        columns = list(table.order.by)
        frame = run.table(name)[columns].astype(
            {column: "str" for column in columns if column == "direction"}
        )
        found = list(frame.itertuples(index=False, name=None))
        assert found == sorted(found), name


def test_a_table_that_does_not_exist_is_named_with_the_nearest(tmp_path):
    run = load_run(tiny_run.write_run(tmp_path / "run"))
    assert "tasks" in dir(run)
    with pytest.raises(AttributeError, match="no 'task', did you mean 'tasks'"):
        getattr(run, "task")  # noqa: B009


def test_a_round_of_many_fades_keeps_few_rows_in_memory(tmp_path, monkeypatch):
    changes = (
        "stop.rounds=1",
        "cell.fading.coherence_time=2 ms",
        "learning.upload=60 kB",
    )
    whole = netsim_run("network-only", *changes, out=tmp_path / "whole")
    monkeypatch.setattr("netsim.band.shared.MANY_SEGMENTS", 100)
    monkeypatch.setattr("netsim.trace.writer.CHUNK_ROWS", 50)
    kept = []
    flush = Recorder.flush_full

    def flush_full(recorder):
        kept.append(len(recorder.segments))
        flush(recorder)
        assert len(recorder.segments) < 50

    monkeypatch.setattr(Recorder, "flush_full", flush_full)
    parts = netsim_run("network-only", *changes, out=tmp_path / "parts")
    assert len(whole.segments) > 600
    assert 100 <= max(kept) < 200
    assert parts.manifest.digest == whole.manifest.digest
