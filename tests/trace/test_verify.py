"""The audit: every kind of lie about a run is found and named."""

from types import SimpleNamespace

import pytest

from netsim.availability import Periodic
from netsim.runs.manifest import read_manifest
from netsim.trace import rows
from netsim.trace.schemas import SCHEMAS
from netsim.trace.tables import Rows
from netsim.trace.writer import Recorder
from netsim.verify import audit
from netsim.verify.clock import check_clock
from netsim.verify.consistency import check_consistency
from netsim.verify.presence import check_presence
from netsim.verify.trace import Trace
from tests.support import tiny_run
from tests.support.forgery import forge
from tests.support.tiny_run import BANDS, EFFICIENCY, HZ, SEGMENTS, TRANSFERS, S


@pytest.fixture
def folder(tmp_path):
    return tiny_run.write_run(tmp_path / "tiny")


def verify(folder):
    """Audit a tiny run, whose scenario is a name and a seed and so not readable."""
    return [f for f in audit(folder).findings if "must be readable, to" not in f.rule]


def replaced(content, index, **change):
    return [
        row._replace(**change) if i == index else row for i, row in enumerate(content)
    ]


def clock(**changes):
    content = {"transfers": TRANSFERS, "segments": SEGMENTS, "bands": BANDS}
    return list(check_clock(Rows(**{**content, **changes})))


def rules(findings):
    return sorted({(finding.table, finding.row, finding.rule) for finding in findings})


def test_a_sound_run_has_no_findings(folder):
    assert verify(folder) == []


@pytest.mark.parametrize("table", SCHEMAS)
def test_one_flipped_byte_names_the_part(folder, table):
    name = f"trace/{table}/part-00000.parquet"
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    findings = verify(folder)
    assert {finding.row for finding in findings if finding.table == "files"} >= {name}
    assert "SHA-256" in str(findings[0])


def test_missing_unlisted_and_torn_parts_are_named(folder):
    bands = folder / "trace" / "bands"
    (bands / "part-00001.parquet").write_bytes(b"PAR1")
    (folder / "trace" / "plans" / "part-00000.parquet").unlink()
    assert {(f.row, f.rule) for f in verify(folder)} >= {
        ("trace/plans/part-00000.parquet", "a listed file must exist"),
        ("trace/bands/part-00001.parquet", "a part must be listed"),
        ("trace/bands/part-00001.parquet", "a part must be readable"),
    }


def test_changed_scenario_is_found(folder):
    (folder / "scenario.yaml").write_text("name: other\nseed: 1\n")
    findings = verify(folder)
    assert [finding[:2] for finding in findings] == [
        ("scenario.yaml", "scenario_digest"),
        ("manifest.json", "name"),
    ]


@pytest.mark.parametrize(
    "claim",
    [{"rounds": 7}, {"seed": 9}, {"sim_time_ns": 5 * S}, {"final": {"accuracy": 0.99}}],
)
def test_a_claim_that_the_tables_contradict_is_found(folder, claim):
    read_manifest(folder).model_copy(update=claim).write(folder)
    (finding,) = verify(folder)
    assert finding[:2] == ("manifest.json", *claim)


def test_changed_digest_is_found(folder):
    manifest = read_manifest(folder)
    manifest.model_copy(update={"adapter_digest": "other"}).write(folder)
    (finding,) = verify(folder)
    assert finding[:2] == ("files", "digest")


def test_physics_finds_a_skilful_forgery_of_efficiency(folder):
    forge(folder, "segments", "spectral_efficiency_nbit_s_hz", lambda e: [*e[:2], 1])
    (finding,) = verify(folder)
    assert finding == (
        "transfers",
        "transfer 2",
        "work must reach the bits at end_ns",
        f"work {3 * HZ * S}, needed {3 * 10**24}",
    )


def test_a_forged_metric_contradicts_the_manifest(folder):
    forge(folder, "evals", "accuracy", lambda values: [1.0 for _ in values])
    (finding,) = verify(folder)  # who forges that too must be replayed
    assert finding[:2] == ("manifest.json", "final")


def test_running_trace_is_sound_as_far_as_it_goes(tmp_path):
    (tmp_path / "scenario.yaml").write_text("name: tiny\n")
    tiny_run.manifest(tmp_path).write(tmp_path)
    recorder = Recorder(tmp_path, flush_rows=2)
    tiny_run.record(recorder)
    (tmp_path / "trace" / "bands" / ".part-00001.parquet.tmp").write_bytes(b"torn")
    assert verify(tmp_path) == []


@pytest.mark.parametrize(
    ("index", "change", "expected"),
    [
        (2, {"bits": 4}, "work must reach the bits at end_ns"),
        (2, {"bits": 2}, "work must not reach the bits before end_ns"),
        (2, {"status": "late"}, "a transfer that is not done must not reach its bits"),
    ],
)
def test_bits_must_be_reached_at_the_last_tick(index, change, expected):
    findings = clock(transfers=replaced(TRANSFERS, index, **change))
    assert [(f.row, f.rule) for f in findings] == [("transfer 2", expected)]


def test_one_tick_more_or_less_is_found():
    for end_ns in (S - 1, S + 1):
        transfers = [TRANSFERS[0]._replace(end_ns=end_ns)]
        segments = [SEGMENTS[0]._replace(end_ns=end_ns)]
        bands = [BANDS[0]._replace(end_ns=end_ns)]
        (finding,) = clock(transfers=transfers, segments=segments, bands=bands)
        assert finding.row == "transfer 0"


def test_a_gap_between_segments_is_found():
    halves = [
        SEGMENTS[0]._replace(end_ns=S // 2),
        SEGMENTS[0]._replace(start_ns=S // 2 + 1),
    ]
    found = clock(transfers=TRANSFERS[:1], segments=halves, bands=BANDS[:1])
    assert ("segments", "transfer 0", "segments must tile the transfer") in rules(found)


def test_a_segment_outside_its_band_is_found():
    found = clock(
        transfers=TRANSFERS[:1],
        segments=SEGMENTS[:1],
        bands=[BANDS[0]._replace(start_ns=1)],
    )
    assert ("segments", "transfer 0", "a segment must lie in its band") in rules(found)


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"num_live": 3}, "num_live 3, segments give 2"),
        ({"unit_share_uhz": HZ - 1}, f"unit_share_uhz {HZ - 1}, segments give {HZ}"),
        ({"allocated_uhz": HZ}, f"allocated_uhz {HZ}, segments give {2 * HZ}"),
    ],
)
def test_a_row_must_be_the_division_of_its_segments(change, detail):
    findings = list(clock(bands=replaced(BANDS, 1, **change)))
    (finding,) = (f for f in findings if f.table == "bands")
    assert finding.row == f"cell 0 up from {2 * S} ns"
    assert detail in finding.detail


def test_a_change_inside_a_row_is_found():
    bands = [BANDS[0], BANDS[1]._replace(end_ns=4 * S)]
    findings = clock(bands=bands)
    details = [f.detail for f in findings if f.table == "bands"]
    assert details == [
        f"at {3 * S} ns unit_share_uhz {HZ}, segments give {2 * HZ}; "
        "num_live 2, segments give 1"
    ]


def test_overlap_and_excess_are_found():
    bands = [*BANDS, BANDS[0]._replace(start_ns=S - 1, allocated_uhz=3 * HZ)]
    found = {rule for _, _, rule in rules(clock(bands=bands))}
    assert found >= {"rows must not overlap", "shares must not exceed the band"}


def test_pinned_and_elastic_transfers_share_a_band():
    """1 Hz pinned and 2 x 0.5 Hz elastic: 2 bits each in 2, and 4 s at 0.5 Hz."""
    transfers = [
        rows.Transfer(0, None, 1, 0, 0, "up", 2, 0, 2 * S, "done"),
        rows.Transfer(1, None, 1, 1, 0, "up", 9, 0, 2 * S, "late"),
        rows.Transfer(2, None, 1, 2, 0, "up", 9, 0, 0, "late"),
    ]
    segments = [
        rows.Segment(0, 0, 2 * S, 0, HZ, EFFICIENCY),
        rows.Segment(1, 0, S, 2, None, EFFICIENCY),
        rows.Segment(1, S, 2 * S, 2, None, 2 * EFFICIENCY),
    ]
    bands = [rows.Band(0, "up", 0, 2 * S, HZ // 2, 2, 2 * HZ, 2)]
    assert list(clock(transfers=transfers, segments=segments, bands=bands)) == []


def books(**changes):
    content = {
        "clients": tiny_run.CLIENTS,
        "plans": [],
        "rounds": tiny_run.ROUNDS,
        "tasks": tiny_run.TASKS,
        "transfers": TRANSFERS,
        "evals": tiny_run.EVALS,
        "events": [],
        "sim_time_ns": 4 * S,
    }
    return rules(check_consistency(Trace(**{**content, **changes})))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"upload_bits": 2}, "transfers must carry the upload's bits"),
        ({"download_bits": 9}, "transfers must carry the download's bits"),
        ({"upload_start_ns": 2 * S + 1}, "transfers must lie in the upload"),
        ({"compute_end_ns": 0}, "a task's times must be in order"),
        ({"compute_end_ns": None}, "a task must not skip a step"),
        (
            {"download_end_ns": S + 1, "compute_start_ns": S + 1},
            "a download must end when its last message is there",
        ),
        ({"weight": float("inf")}, "weight must be a finite number"),
    ],
)
def test_a_task_that_contradicts_the_trace_is_found(change, expected):
    tasks = replaced(tiny_run.TASKS, 0, **change)
    assert books(tasks=tasks) == [("tasks", "task 10", expected)]


def test_counts_of_a_round_must_match_its_tasks():
    late = {"status": "late", "merged_round_id": None, "staleness": None}
    found = books(tasks=replaced(tiny_run.TASKS, 0, **late))
    assert found == [
        ("rounds", "round 1", "num_dropped must match tasks"),
        ("rounds", "round 1", "num_merged must match tasks"),
    ]


def test_what_the_end_of_the_run_cuts_off_is_not_dropped():
    cut = {"status": "unfinished", "merged_round_id": None, "staleness": None}
    rounds = [tiny_run.ROUNDS[0]._replace(num_merged=1)]
    assert books(tasks=replaced(tiny_run.TASKS, 0, **cut), rounds=rounds) == []


def test_a_private_part_rides_after_the_broadcast():
    private = rows.Transfer(9, 10, 1, 7, 0, "down", 5, S, 2 * S, "done")
    change = {
        "download_bits": 7,
        "download_end_ns": 2 * S,
        "compute_start_ns": 2 * S,
    }
    tasks = replaced(tiny_run.TASKS, 0, **change)
    assert books(tasks=tasks, transfers=[*TRANSFERS, private]) == []


def test_a_transfer_must_have_its_task():
    lost = TRANSFERS[1]._replace(transfer_id=9, task_id=99)
    found = books(transfers=[*TRANSFERS, lost])
    assert found == [("transfers", "transfer 9", "a transfer must have its task")]


def test_what_happens_after_the_end_is_found():
    found = books(sim_time_ns=3 * S)
    assert [(table, row) for table, row, _ in found] == [
        ("evals", "round 1"),
        ("rounds", "round 1"),
    ]


def test_events_must_be_in_order():
    events = [rows.Event(1, 5, "a", None, None, ""), rows.Event(1, 6, "b", 1, 7, "")]
    found = books(events=events)
    assert found == [("events", "event 1", "sequence and time must increase")]


def presence(tasks=tiny_run.TASKS, **periodic):
    """Return the rules that tasks break when clients are there periodically."""
    population = SimpleNamespace(availability=Periodic(**periodic))
    known = SimpleNamespace(
        availability=population.availability, scenario=SimpleNamespace(seed=1)
    )
    return rules(check_presence(Trace(4 * S, tasks=tasks), known))


def test_who_is_away_can_have_no_part():
    assert presence(on_s=4.0, off_s=1.0, phase_s=0.0) == []
    assert presence(on_s=3.0, off_s=2.0, phase_s=0.0) == [
        ("tasks", "task 11", "a client must not go on when it has left")
    ]
    assert presence(on_s=3.0, off_s=1.0, phase_s=3.5) == [
        ("tasks", f"task {n}", "a client must be there when it begins")
        for n in (10, 11)
    ]


def test_who_leaves_does_so_at_its_tick():
    cut = {"status": "left", "merged_round_id": None, "staleness": None}
    tasks = replaced(tiny_run.TASKS, 1, **cut)
    wrong = ("tasks", "task 11", "who leaves must do so at its tick")
    assert wrong in presence(tasks, on_s=5.0, off_s=1.0, phase_s=0.0)
    assert wrong not in presence(tasks, on_s=4.0, off_s=1.0, phase_s=0.0)


def test_a_stale_merge_must_say_how_stale():
    found = books(tasks=replaced(tiny_run.TASKS, 0, staleness=1))
    rule = "staleness must be the rounds from a task's own to its merge"
    assert found == [("tasks", "task 10", rule)]


def test_no_client_has_two_tasks_at_a_time():
    found = books(tasks=replaced(tiny_run.TASKS, 1, client_id=7))
    assert ("tasks", "task 11", "a client must be at one task at a time") in found


def test_a_battery_is_empty_when_it_is_spent():
    def found(time_s, detail, **change):
        lost = {"status": "battery", "merged_round_id": None, "staleness": None}
        tasks = replaced(tiny_run.TASKS, 0, **lost, **change)
        events = [rows.Event(0, time_s * S, "battery empty", None, 7, detail)]
        return books(tasks=tasks, events=events, rounds=[counted])

    counted = tiny_run.ROUNDS[0]._replace(num_merged=1, num_dropped=1)
    assert found(3, "1.2 J") == []
    rule = "a battery is empty when it is spent"
    assert found(3, "2.0 J") == [("events", "event 0", rule)]
    rule = "nothing runs on an empty battery"
    assert found(2, "1.2 J") == [("events", "event 0", rule)]
    lost = {"status": "battery", "merged_round_id": None, "staleness": None}
    rule = "an exhausted client must have an event 'battery empty'"
    tasks = replaced(tiny_run.TASKS, 0, **lost)
    assert books(tasks=tasks, rounds=[counted]) == [("tasks", "task 10", rule)]


def test_drops_count_in_the_round_that_was_under_way():
    """At a round's last tick it may be either round; lost updates may come later."""

    def found(counts, **change):
        two = [
            tiny_run.ROUNDS[0]._replace(num_merged=1, num_dropped=counts[0]),
            rows.Round(2, 0, "train", 4 * S, 6 * S, 0, 0, counts[1]),
        ]
        lost = {"merged_round_id": None, "staleness": None, **change}
        tasks = replaced(tiny_run.TASKS, 1, **lost)
        wrong = books(tasks=tasks, rounds=two, sim_time_ns=6 * S)
        return [where for table, where, _ in wrong if table == "rounds"]

    assert found((1, 0), status="left") == found((0, 1), status="left") == []
    assert found((0, 0), status="left") == found((1, 1), status="left") == ["round 2"]
    assert found((0, 1), status="late") == ["round 1", "round 2"]
    in_the_first = {"end_ns": 7 * S // 2}
    assert found((0, 1), status="left", **in_the_first) == ["round 1", "round 2"]
    assert found((0, 1), status="server-down", **in_the_first) == []
