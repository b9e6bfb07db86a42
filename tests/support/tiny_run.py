"""A run so small that every number can be checked by hand.

Both bands have 2 Hz at 1 bit/s/Hz. A broadcast of 2 bits takes second 0 to 1; both
clients compute for a second; uploads of 1 and 3 bits share the band until the first
ends at 3 s; the other then has the whole band and ends at 4 s.
"""

from netsim.core.files import file_sha256
from netsim.runs.manifest import Manifest, machine, versions
from netsim.trace import rows
from netsim.trace.writer import Recorder

S = 10**9
HZ = 10**6  # in micro-hertz
EFFICIENCY = 10**9  # 1 bit/s/Hz

TRANSFERS = [
    rows.Transfer(0, None, 1, None, 0, "down", 2, 0, S, "done"),
    rows.Transfer(1, 10, 1, 7, 0, "up", 1, 2 * S, 3 * S, "done"),
    rows.Transfer(2, 11, 1, 8, 0, "up", 3, 2 * S, 4 * S, "done"),
]
SEGMENTS = [
    rows.Segment(0, 0, S, 1, None, EFFICIENCY),
    rows.Segment(1, 2 * S, 3 * S, 1, None, EFFICIENCY),
    rows.Segment(2, 2 * S, 4 * S, 1, None, EFFICIENCY),
]
BANDS = [
    rows.Band(0, "down", 0, S, 2 * HZ, 1, 2 * HZ, 2),
    rows.Band(0, "up", 2 * S, 3 * S, 1 * HZ, 2, 2 * HZ, 2),
    rows.Band(0, "up", 3 * S, 4 * S, 2 * HZ, 1, 2 * HZ, 2),
]
CLIENTS = [
    rows.Client(7, 0, "phone", 3.0, 4.0, 5.0, True, 20.0, 10, 0.25),
    rows.Client(8, 0, "laptop", 0.0, 9.0, 9.0, False, 10.0, 30, 0.75),
]
ROUNDS = [rows.Round(1, 0, "train", 0, 4 * S, 2, 2, 0)]
EVALS = [
    rows.Evaluation(0, "train", None, 0, "test", 100, 1.5, 0.5),
    rows.Evaluation(1, "train", 7, 2 * S, "test", 10, 0.1, 0.99),
    rows.Evaluation(1, "train", None, 4 * S, "test", 100, 0.3, 0.9),
]


def task(task_id, client_id, upload_bits, end_ns):
    return rows.Task(
        task_id=task_id,
        round_id=1,
        client_id=client_id,
        rank=8,
        weight=0.5,
        download_start_ns=0,
        download_end_ns=S,
        compute_start_ns=S,
        compute_end_ns=2 * S,
        upload_start_ns=2 * S,
        end_ns=end_ns,
        download_bits=2,
        upload_bits=upload_bits,
        compute_flop=10**12,
        compute_energy_j=1.0,
        transmit_energy_j=0.2,
        idle_energy_j=0.0,
        merged_round_id=1,
        staleness=0,
        status="done",
    )


TASKS = [task(10, 7, 1, 3 * S), task(11, 8, 3, 4 * S)]


def record(recorder):
    """Append the tiny run's rows; ``flush_full`` after every one."""
    tables = {
        "clients": CLIENTS,
        "plans": [rows.Plan(0, 7, 0.5, 8), rows.Plan(0, 8, 1.0, None)],
        "rounds": ROUNDS,
        "tasks": TASKS,
        "transfers": TRANSFERS,
        "segments": SEGMENTS,
        "bands": BANDS,
        "evals": EVALS,
        "capacities": [rows.Capacity(9, "up", 0, S, 10**9)],  # of another cell
        "cells": [rows.Cell(9, "mast", 0.0, 0.0, 2, 2, 4.0, S)],
        "crossings": [rows.Crossing(0, 9, "down", 1, 4, None, None, 0, 2 * S, "done")],
        "arrivals": [rows.Arrival(1, 3 * S)],  # at once
        "links": [rows.OwnLink(9, "up", 0, 5)],  # of nobody here
        "laps": [rows.Lap(0, 0, S, 10**9)],
        "estimates": [rows.Estimate(2, 4 * S, "norm2", 7, 0.5, None)],
        "updates": [rows.Update(n, 1, 4 * S, 0.5, 2.0, None) for n in (10, 11)],
        "merges": [rows.Merge(1, "layer.0.q_proj", "flora-na", 2, 1e-3, float("nan"))],
        "events": [
            rows.Event(0, 0, "start", None, None, "Größe"),
            rows.Event(1, 4 * S, "stop", 1, None, ""),
        ],
    }
    for table, content in tables.items():
        for row in content:
            getattr(recorder, table).append(row)
            recorder.flush_full()


def manifest(folder, **changes):
    """Return a running manifest of the tiny run."""
    fields = {
        "name": "tiny",
        "status": "running",
        "scenario_digest": file_sha256(folder / "scenario.yaml"),
        "seed": 1,
        "command": ("netsim", "run", "tiny"),
        "versions": versions(),
        "machine": machine(),
        "started_at": "2026-01-01T00:00:00+00:00",
    }
    return Manifest(**{**fields, **changes})


def write_run(folder):
    """Write the complete tiny run and return its folder."""
    folder.mkdir()
    (folder / "scenario.yaml").write_text("name: tiny\nseed: 1\n")
    recorder = Recorder(folder)
    record(recorder)
    summary = recorder.close()
    manifest(
        folder,
        status="complete",
        parts=summary.parts,
        table_digests=summary.table_digests,
        network_digest=summary.network_digest,
        digest=summary.digest(),
        rounds=1,
        sim_time_ns=4 * S,
        final={"accuracy": 0.9, "loss": 0.3},
    ).write(folder)
    return folder
