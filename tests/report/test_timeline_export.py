"""The picture for Perfetto: valid trace events, and nothing lost of the tables."""

import gzip
import json
import tracemalloc
from collections import defaultdict
from decimal import Decimal
from itertools import pairwise

import pytest

import netsim
from netsim.errors import InputError
from netsim.runs.run import load_run, server_kind
from netsim.timeline import write_timeline
from netsim.timeline.slices import grouped
from netsim.timeline.trace_events import micros
from netsim.trace.writer import Recorder
from tests.support import tiny_run
from tests.support.command import netsim as command

S = tiny_run.S
FIELDS = {  # the trace-event format asks for these of every phase
    "B": {"ph", "pid", "tid", "ts", "cat", "name", "args"},
    "E": {"ph", "pid", "tid", "ts"},
    "s": {"ph", "pid", "tid", "ts", "cat", "name", "id"},
    "f": {"ph", "pid", "tid", "ts", "cat", "name", "id", "bp"},
    "C": {"ph", "pid", "ts", "name", "args"},
    "i": {"ph", "pid", "tid", "ts", "cat", "name", "args", "s"},
}
METADATA = {
    "process_name": ("name", {"ph", "pid", "name", "args"}),
    "process_sort_index": ("sort_index", {"ph", "pid", "name", "args"}),
    "thread_name": ("name", {"ph", "pid", "tid", "name", "args"}),
    "thread_sort_index": ("sort_index", {"ph", "pid", "tid", "name", "args"}),
}
SERVERS = {
    "synchronous": (),
    "deadline": (
        "server={kind: deadline, deadline: 4 s, announce_time: 10 ms, "
        "merge_time: 20 ms, sampling: full}",
    ),
    "buffered": (
        "server={kind: buffered, concurrency: 6, buffer_size: 3, merge_time: 500 ms}",
        "cell.downlink.mode=unicast",
        "cell.downlink.sharing=processor-sharing",
    ),
}


@pytest.fixture
def tiny(tmp_path):
    return tiny_run.write_run(tmp_path / "tiny")


@pytest.fixture(scope="module", params=SERVERS)
def run(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param) / "run"
    overrides = SERVERS[request.param]
    return netsim.run("network-only", "stop.rounds=8", *overrides, out=folder)


def written(folder, path):
    """Write a timeline and return its events; their numbers are exact."""
    num_events = write_timeline(folder, path)
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        content = json.load(file, parse_float=Decimal)
    assert list(content) == ["traceEvents", "otherData"]  # viewers may stop after it
    assert len(content["traceEvents"]) == num_events
    return content["traceEvents"]


def ns(event):
    ticks = event["ts"] * 1000
    assert ticks == int(ticks) >= 0
    return int(ticks)


def require_valid(events):
    """Hold events against the format, and return them by track as a viewer orders
    them: by time, and by their place in the file within a tick."""
    named, tracks = set(), defaultdict(list)
    for event in events:
        if event["ph"] == "M":
            key, fields = METADATA[event["name"]]
            assert list(event["args"]) == [key]
            assert set(event) == fields
            named.add((event["pid"], event.get("tid")))
            continue
        assert set(event) == FIELDS[event["ph"]], event
        if event["ph"] == "C":
            assert list(event["args"]) == ["value"]
            assert (event["pid"], None) in named
        else:
            place = event["pid"], event["tid"]
            assert place in named
            tracks[place].append(event)
    for content in tracks.values():
        ticks = [ns(event) for event in content]
        assert ticks == sorted(ticks)
    return tracks


def slices_and_flows(events):
    """Return (begin, end tick, depth) of all slices, which must nest, and by flow the
    event and the slice that it leaves or reaches."""
    slices, flows = [], {"s": {}, "f": {}}
    for content in require_valid(events).values():
        stack = []
        for event in content:
            if event["ph"] == "B":
                stack.append((len(slices), event))
                slices.append(None)
            elif event["ph"] == "E":
                place, begin = stack.pop()
                slices[place] = begin, ns(event), len(stack)
            elif event["ph"] in flows:
                assert event["id"] not in flows[event["ph"]]
                flows[event["ph"]][event["id"]] = event, stack[-1][1]
        assert not stack
    assert flows["s"].keys() == flows["f"].keys()
    return slices, flows


def intervals(slices, category, key):
    """Return (id, start, end) of the slices of a category, in order."""
    return sorted(
        (begin["args"][key], ns(begin), end_ns)
        for begin, end_ns, _ in slices
        if begin["cat"] == category
    )


def counts(events, name):
    return [
        (ns(event), event["args"]["value"])
        for event in events
        if event["ph"] == "C" and event["name"] == name
    ]


def test_microseconds_keep_every_nanosecond():
    assert micros(0) == "0.000"
    assert micros(1) == "0.001"
    assert micros(1_001) == "1.001"
    assert micros(2**62 + 7) == "4611686018427387.911"


def test_the_tiny_run_slice_by_slice(tiny, tmp_path):
    events = written(tiny, tmp_path / "t.json")
    names = tracks_by_name(events)
    slices, _ = slices_and_flows(events)
    assert [
        (names[b["tid"]], b["name"], ns(b) // S, end_ns // S, depth)
        for b, end_ns, depth in slices
    ] == [
        ("client 7 phone", "round 1 client 7", 0, 3, 0),
        ("client 7 phone", "download round 1 client 7", 0, 1, 1),
        ("client 7 phone", "compute round 1 client 7", 1, 2, 1),
        ("client 7 phone", "upload round 1 client 7", 2, 3, 1),
        ("client 8 laptop", "round 1 client 8", 0, 4, 0),
        ("client 8 laptop", "download round 1 client 8", 0, 1, 1),
        ("client 8 laptop", "compute round 1 client 8", 1, 2, 1),
        ("client 8 laptop", "upload round 1 client 8", 2, 4, 1),
        ("rounds", "round 1", 0, 4, 0),
        ("merges", "merge round 1", 4, 4, 0),
        ("broadcast", "broadcast round 1", 0, 1, 0),
        ("broadcast", "backhaul broadcast round 1", 0, 2, 0),
        ("client 7 radio", "up round 1 client 7", 2, 3, 0),
        ("client 7 radio", "under way up round 1 client 7", 3, 3, 0),
        ("client 8 radio", "up round 1 client 8", 2, 4, 0),
    ]


def tracks_by_name(events):
    return {
        event["tid"]: event["args"]["name"]
        for event in events
        if event["ph"] == "M" and event["name"] == "thread_name"
    }


def test_the_tiny_runs_counters_and_marks(tiny, tmp_path):
    events = written(tiny, tmp_path / "t.json")
    assert counts(events, "downlink in use (Hz)") == [(0, 2), (S, 0)]
    assert counts(events, "uplink in use (Hz)") == [(2 * S, 2), (3 * S, 2), (4 * S, 0)]
    assert counts(events, "uplink transfers") == [(2 * S, 2), (3 * S, 1), (4 * S, 0)]
    assert counts(events, "accuracy test") == [
        (0, Decimal("0.5")),
        (4 * S, Decimal("0.9")),
    ]
    marks = [event for event in events if event["ph"] == "i"]
    assert [(ns(mark), mark["name"]) for mark in marks] == [
        (0, "start"),
        (4 * S, "stop"),
    ]
    assert marks[0]["args"]["detail"] == "Größe"


def test_every_cell_is_a_process_of_its_own(tmp_path, monkeypatch):
    """Client 8 lives in cell 3; its second message went over cell 0."""
    clients = [tiny_run.CLIENTS[0], tiny_run.CLIENTS[1]._replace(cell_id=3)]
    transfers = list(tiny_run.TRANSFERS)
    transfers[2] = transfers[2]._replace(cell_id=3, end_ns=3 * S, status="outage")
    again = transfers[2]._replace(
        transfer_id=3, cell_id=0, start_ns=3 * S, end_ns=4 * S, status="done"
    )
    monkeypatch.setattr(tiny_run, "CLIENTS", clients)
    monkeypatch.setattr(tiny_run, "TRANSFERS", [*transfers, again])
    bands = [*tiny_run.BANDS, tiny_run.BANDS[1]._replace(cell_id=3)]
    monkeypatch.setattr(tiny_run, "BANDS", bands)
    events = written(tiny_run.write_run(tmp_path / "tiny"), tmp_path / "t.json")
    require_valid(events)
    processes, threads = {}, {}
    for event in events:
        if event["ph"] == "M" and event["name"] == "process_name":
            processes[event["pid"]] = event["args"]["name"]
        elif event["ph"] == "M" and event["name"] == "thread_name":
            threads[event["pid"], event["tid"]] = event["args"]["name"]
    assert sorted(processes.values()) == ["cell 0", "cell 3", "cell 9", "server"]
    tracks = sorted((processes[pid], name) for (pid, _), name in threads.items())
    assert tracks == [
        ("cell 0", "broadcast"),
        ("cell 0", "client 7 phone"),
        ("cell 0", "client 7 radio"),
        ("cell 0", "client 8 radio"),
        ("cell 3", "client 8 laptop"),
        ("cell 3", "client 8 radio"),
        ("cell 9", "broadcast"),
        ("server", "marks"),
        ("server", "merges"),
        ("server", "rounds"),
    ]
    counted = {
        processes[e["pid"]] for e in events if "uplink in use" in e.get("name", "")
    }
    assert counted == {"cell 0", "cell 3"}


def test_an_upload_is_tied_to_the_merge_that_took_it(tiny, tmp_path):
    _, flows = slices_and_flows(written(tiny, tmp_path / "t.json"))
    assert sorted(flows["s"]) == [10, 11]
    event, upload = flows["s"][10]
    assert (ns(event), upload["name"]) == (3 * S, "upload round 1 client 7")
    event, merge = flows["f"][10]
    assert (ns(event), merge["name"]) == (4 * S, "merge round 1")


def test_every_row_is_a_slice(run, tmp_path):
    slices, flows = slices_and_flows(written(run.folder, tmp_path / "t.json.gz"))
    for category, table, start in (
        ("task", "tasks", "download_start_ns"),
        ("round", "rounds", "start_ns"),
        ("transfer", "transfers", "start_ns"),
    ):
        key = f"{category}_id"
        rows = run.table(table)[[key, start, "end_ns"]].itertuples(index=False)
        assert intervals(slices, category, key) == sorted(map(tuple, rows))
    tasks = run.tasks
    for phase in ("download", "compute", "upload"):
        begun = tasks.loc[tasks[f"{phase}_start_ns"].notna(), "task_id"]
        found = [task_id for task_id, *_ in intervals(slices, phase, "task_id")]
        assert found == sorted(begun)
    merged = tasks.dropna(subset="merged_round_id").set_index("task_id")
    assert sorted(flows["s"]) == sorted(merged.index)
    for task_id, row in merged.iterrows():
        upload, merge = flows["s"][task_id][1], flows["f"][task_id][1]
        assert (upload["cat"], upload["args"]["task_id"]) == ("upload", task_id)
        assert merge["args"]["round_id"] == row["merged_round_id"]
        assert ns(merge) >= ns(flows["s"][task_id][0])


def test_the_runs_have_what_they_are_for(run):
    """The deadline cuts some, and the run's end whom a buffer has under way."""
    statuses = {
        "synchronous": {"done"},
        "deadline": {"done", "late"},
        "buffered": {"done", "unfinished", "unmerged"},
    }
    assert set(run.tasks["status"]) == statuses[server_kind(run.folder)]


def test_a_merge_takes_its_time(run, tmp_path):
    slices, _ = slices_and_flows(written(run.folder, tmp_path / "t.json"))
    merge_ms = 500 if server_kind(run.folder) == "buffered" else 20
    lengths = [end - start for _, start, end in intervals(slices, "merge", "round_id")]
    assert lengths == [merge_ms * 10**6] * int((run.rounds["num_merged"] > 0).sum())


def test_a_buffer_is_as_long_as_what_arrived_and_waits(run, tmp_path):
    found = counts(written(run.folder, tmp_path / "t.json"), "buffer length")
    if server_kind(run.folder) != "buffered":
        assert found == []
        return
    ticks = [tick for tick, _ in found]
    assert ticks == sorted(set(ticks))
    ends_ns = run.rounds.set_index("round_id")["end_ns"]
    arrived = run.tasks[run.tasks["status"].isin(["done", "unmerged"])]
    taken_ns = arrived["merged_round_id"].map(ends_ns).fillna(2**62)
    for tick, length in found:
        waits = (arrived["end_ns"] <= tick) & (tick < taken_ns)
        assert length == waits.sum()
    assert max(length for _, length in found) > 3  # some arrive while it merges


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_band_is_counted_as_long_as_it_is_in_use(run, tmp_path, direction):
    events = written(run.folder, tmp_path / "t.json")
    found = counts(events, f"{direction}link transfers")
    area = sum(
        live * (later_ns - time_ns)
        for (time_ns, live), (later_ns, _) in pairwise(found)
    )
    bands = run.bands[run.bands["direction"] == direction]
    assert area == (bands["num_live"] * (bands["end_ns"] - bands["start_ns"])).sum()
    assert found[-1] == (bands["end_ns"].max(), 0)


def test_the_same_run_gives_the_same_bytes(tiny, tmp_path):
    first, second = tmp_path / "a.json.gz", tmp_path / "b.json.gz"
    write_timeline(tiny, first)
    write_timeline(tiny, second)
    assert first.read_bytes() == second.read_bytes()
    assert list(tmp_path.glob(".*")) == []


def test_a_cut_task_ends_its_phase(tiny, tmp_path):
    late = tiny_run.TASKS[0]._replace(
        compute_end_ns=None,
        upload_start_ns=None,
        end_ns=3 * S,
        merged_round_id=None,
        staleness=None,
        status="late",
    )
    folder = record_run(tmp_path / "late", [late, tiny_run.TASKS[1]])
    slices, flows = slices_and_flows(written(folder, tmp_path / "t.json"))
    assert intervals(slices, "compute", "task_id") == [
        (10, S, 3 * S),
        (11, S, 2 * S),
    ]
    assert intervals(slices, "upload", "task_id") == [(11, 2 * S, 4 * S)]
    assert list(flows["s"]) == [11]


def record_run(folder, tasks, rounds=tiny_run.ROUNDS, flush_rows=65_536):
    folder.mkdir()
    (folder / "scenario.yaml").write_text("name: tiny\n")
    recorder = Recorder(folder, flush_rows=flush_rows)
    recorder.clients.extend(tiny_run.CLIENTS)
    for row in rounds:
        recorder.rounds.append(row)
        recorder.flush_full()
    for row in tasks:
        recorder.tasks.append(row)
        recorder.flush_full()
    recorder.close()
    tiny_run.manifest(folder).write(folder)
    return folder


def test_an_update_whose_round_was_not_written_has_no_arrow(tmp_path):
    folder = record_run(tmp_path / "killed", tiny_run.TASKS, rounds=[])
    slices, flows = slices_and_flows(written(folder, tmp_path / "t.json"))
    assert flows == {"s": {}, "f": {}}
    assert len(intervals(slices, "task", "task_id")) == 2


def test_tasks_out_of_the_order_of_merges_are_refused():
    rounds = [tiny_run.ROUNDS[0]._replace(round_id=n) for n in (1, 2)]
    late, early = (tiny_run.TASKS[0]._replace(merged_round_id=n) for n in (2, 1))
    with pytest.raises(InputError, match="task 10 of merge 1 comes in round 2"):
        list(grouped(rounds, [late, early]))


def many_rounds(folder, num_rounds):
    """Write that many rounds of the tiny run's two tasks, one after the other."""
    tasks, rounds = [], []
    for n in range(num_rounds):
        rounds.append(
            tiny_run.ROUNDS[0]._replace(
                round_id=n + 1, start_ns=4 * S * n, end_ns=4 * S * (n + 1)
            )
        )
        tasks += [
            row._replace(
                **{
                    k: v + 4 * S * n
                    for k, v in row._asdict().items()
                    if k[-3:] == "_ns"
                },
                task_id=2 * n + place,
                round_id=n + 1,
                merged_round_id=n + 1,
            )
            for place, row in enumerate(tiny_run.TASKS)
        ]
    return record_run(folder, tasks, rounds, flush_rows=200)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_run(tmp_path):
    peaks = []
    for num_rounds in (300, 1500):
        folder = many_rounds(tmp_path / str(num_rounds), num_rounds)
        write_timeline(folder, tmp_path / "warm.json")
        tracemalloc.start()
        write_timeline(folder, tmp_path / f"{num_rounds}.json")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_the_command_writes_beside_the_run(tiny, tmp_path, capsys):
    assert command("timeline", tiny) == 0
    assert capsys.readouterr().out.startswith(f"{tiny / 'timeline.json.gz'}: ")
    events = json.loads(gzip.decompress((tiny / "timeline.json.gz").read_bytes()))
    assert events["otherData"]["digest"] == load_run(tiny).manifest.digest


@pytest.mark.parametrize(
    ("run", "out", "message"),
    [
        ("nowhere", "t.json", "there is no such folder"),
        ("tiny", ".", "--out: must be a file, got the folder"),
    ],
)
def test_wrong_input_gets_one_message(tiny, tmp_path, capsys, run, out, message):
    assert command("timeline", tmp_path / run, "--out", tmp_path / out) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.out == ""
